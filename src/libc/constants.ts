/**
 * Constants of the Linux headers. Those that differ between x86-64 and arm64 come from Node, which was compiled against the
 * headers of its architecture; the others are the same on every architecture that Node and CRIU share.
 */
import { constants } from 'node:fs';

// These depend on the architecture: arm64 has other values for O_DIRECTORY, O_NOFOLLOW, O_DIRECT and O_LARGEFILE.
export const { O_NONBLOCK, O_RDONLY, O_WRONLY, O_RDWR, O_APPEND, O_CREAT, O_EXCL, O_NOCTTY, O_DIRECTORY } =
	constants;
/** An unnamed file in a directory. It includes O_DIRECTORY, so that a kernel without O_TMPFILE refuses the open. */
export const O_TMPFILE = 0o20000000 | O_DIRECTORY;

/** The mask of O_RDONLY, O_WRONLY and O_RDWR. */
export const O_ACCMODE = 3;
export const O_CLOEXEC = 0o2000000;
/** A descriptor that refers to a file without opening it for reading or writing. */
export const O_PATH = 0o10000000;
export const AT_FDCWD = -100;
export const AT_SYMLINK_FOLLOW = 0x400;

export const SPLICE_F_MOVE = 1;
export const SPLICE_F_NONBLOCK = 2;

export const F_GETFL = 3;
export const F_SETFL = 4;
export const F_SETPIPE_SZ = 1031;
export const F_GETPIPE_SZ = 1032;
/** Unread bytes in a pipe or a socket. */
export const FIONREAD = 0x541b;
/** Bytes written to a socket that the other side has not acknowledged. */
export const SIOCOUTQ = 0x5411;

export const MFD_CLOEXEC = 1;
export const FALLOC_FL_KEEP_SIZE = 1;
export const FALLOC_FL_PUNCH_HOLE = 2;
export const POSIX_FADV_RANDOM = 1;
export const POSIX_FADV_WILLNEED = 3;

export const AF_UNIX = 1;
export const AF_INET = 2;
export const AF_INET6 = 10;
export const AF_VSOCK = 40;
/** For a listener: every context ID of this machine. */
export const VMADDR_CID_ANY = 0xffffffff;
export const VMADDR_CID_LOCAL = 1;
export const SOCK_STREAM = 1;
export const SOCK_DGRAM = 2;
export const SOCK_NONBLOCK = 0o4000;
export const SOCK_CLOEXEC = 0o2000000;
export const SOL_SOCKET = 1;
export const SO_REUSEADDR = 2;
export const SO_TYPE = 3;
export const SO_ERROR = 4;
export const SO_SNDBUF = 7;
export const SO_KEEPALIVE = 9;
export const SO_PEERCRED = 17;
export const SO_ACCEPTCONN = 30;
export const SO_DOMAIN = 39;
export const IPPROTO_TCP = 6;
export const TCP_NODELAY = 1;
export const TCP_KEEPIDLE = 4;
export const TCP_KEEPINTVL = 5;
export const TCP_KEEPCNT = 6;
export const SHUT_WR = 1;
export const SHUT_RDWR = 2;
export const SCM_RIGHTS = 1;
export const MSG_CTRUNC = 8;
export const MSG_DONTWAIT = 0x40;
export const MSG_NOSIGNAL = 0x4000;
export const MSG_CMSG_CLOEXEC = 0x40000000;

export const EPOLL_CTL_ADD = 1;
export const EPOLL_CTL_DEL = 2;
export const EPOLL_CTL_MOD = 3;
export const EPOLLIN = 1;
export const EPOLLOUT = 4;
export const EPOLLERR = 8;
export const EPOLLHUP = 16;
export const EPOLLONESHOT = 1 << 30;
export const EPOLLET = 1 << 31;

export const CLOCK_MONOTONIC = 1;
export const RLIMIT_NOFILE = 7;

/**
 * Bytes of a page. Where the kernel has larger pages, a pipe only holds more than is computed with this; pagemaps are not
 * read there.
 */
export const PAGE = 4096;
