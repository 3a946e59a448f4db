/* What is between a streamer and its readers or senders, and both ends of it without a streamer. */
#define _GNU_SOURCE
#include "load.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

/* Bytes per call: more than fits into a pipe. */
#define PART_BYTES (4u << 20)
/* Of a sender or a reader that goes on from one buffer. */
#define BUFFER_BYTES (1u << 20)

static void make_tcp(int ends[2])
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof address;
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ends[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(listener, (struct sockaddr *)&address, length) < 0 || listen(listener, 1) < 0 ||
	    getsockname(listener, (struct sockaddr *)&address, &length) < 0 ||
	    connect(ends[1], (struct sockaddr *)&address, length) < 0 || (ends[0] = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) < 0)
		die("tcp");
	close(listener);
}

/* Opens both ends: ends[0] to read, ends[1] to write; of a file, which is the path `kind`, only the latter. */
void make_link(const char *kind, int ends[2])
{
	ends[0] = ends[1] = -1;
	if (strcmp(kind, "pipe") == 0 && pipe2(ends, O_CLOEXEC) < 0)
		die(kind);
	if (strcmp(kind, "tcp") == 0)
		make_tcp(ends);
	if (strcmp(kind, "unix") == 0 && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		die(kind);
	if (*kind == '/' && (ends[1] = open(kind, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)) < 0)
		die(kind);
	for (int i = 0; i < 2; i++) {
		int low = ends[i];
		if (low < 0)
			continue;
		/* Not where the command expects its own descriptors. */
		ends[i] = fcntl(low, F_DUPFD_CLOEXEC, 100);
		close(low);
	}
}

/*
 * Writes `bytes` of the ring. Into a pipe as CRIU does it: pages by reference, small images by a copy. Into anything else by
 * a copy.
 */
void send_bytes(int fd, uint64_t bytes)
{
	struct stat status;
	fstat(fd, &status);
	int by_reference = S_ISFIFO(status.st_mode) && bytes >= PAGE;
	for (uint64_t done = 0; done < bytes;) {
		uint64_t most = by_reference ? PART_BYTES : BUFFER_BYTES, left = bytes - done;
		size_t length = left < most ? left : most;
		struct iovec part = { .iov_base = ring_at(done, &length) };
		part.iov_len = length;
		ssize_t sent = by_reference ? vmsplice(fd, &part, 1, SPLICE_F_GIFT) : write(fd, part.iov_base, length);
		if (sent <= 0)
			die("send");
		done += sent;
	}
	if (S_ISREG(status.st_mode) && fsync(fd) < 0)
		die("fsync");
}

struct transfer {
	int fd;
	uint64_t bytes;
};

static void *transfer(void *argument)
{
	struct transfer *own = argument;
	/* Only a pipe has a size. */
	fcntl(own->fd, F_SETPIPE_SZ, PIPE_BYTES);
	send_bytes(own->fd, own->bytes);
	/* The other end of a socket has read everything when it closes it. */
	if (shutdown(own->fd, SHUT_WR) == 0)
		discard(own->fd);
	close(own->fd);
	return NULL;
}

/* Sends an equal share of `bytes` through each of the links at the same time, and closes them. */
void send_all(int ends[][2], unsigned count, uint64_t bytes)
{
	pthread_t threads[MAX_SHARDS];
	struct transfer transfers[MAX_SHARDS];
	for (unsigned i = 0; i < count; i++) {
		transfers[i] = (struct transfer){ ends[i][1], bytes / count };
		if (pthread_create(&threads[i], NULL, transfer, &transfers[i]) != 0)
			die("thread");
	}
	for (unsigned i = 0; i < count; i++)
		pthread_join(threads[i], NULL);
}

/* Reads everything into the same memory; returns the number of bytes. */
uint64_t discard(int fd)
{
	static char buffer[BUFFER_BYTES];
	uint64_t bytes = 0;
	ssize_t got;
	fcntl(fd, F_SETPIPE_SZ, PIPE_BYTES);
	while ((got = read(fd, buffer, sizeof buffer)) > 0)
		bytes += got;
	if (got < 0)
		die("read");
	return bytes;
}

/* Moves stdin to nowhere: nothing reads or copies a byte. */
int drain(void)
{
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	ssize_t got;
	while ((got = splice(0, NULL, null, NULL, BUFFER_BYTES, SPLICE_F_MOVE)) > 0)
		;
	return got < 0;
}

/* Reads stdin into new memory, as whatever holds an image has to. Says so before that memory is freed. */
int keep(void)
{
	ssize_t got;
	do {
		char *buffer = mmap(NULL, BUFFER_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		size_t have = 0;
		if (buffer == MAP_FAILED)
			return 1;
		while (have < BUFFER_BYTES && (got = read(0, buffer + have, BUFFER_BYTES - have)) > 0)
			have += got;
	} while (got > 0);
	close(0);
	return got < 0 || write(1, "whole\n", 6) != 6;
}
