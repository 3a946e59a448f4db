/* Stand-ins for a dumping and a restoring CRIU on the image socket. */
#define _GNU_SOURCE
#include "load.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int criu_connect(const char *dir, const char *name)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	snprintf(address.sun_path, sizeof address.sun_path, "%s/%s", dir, name);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
		die(address.sun_path);
	return fd;
}

static void small_name(char name[32], unsigned index)
{
	snprintf(name, 32, "fdinfo-%u.img", index);
}

static void send_name(int socket, const char *name)
{
	uint8_t message[64];
	uint32_t bytes = 2 + strlen(name);
	memcpy(message, &bytes, 4);
	message[4] = 1 << 3 | 2;
	message[5] = strlen(name);
	memcpy(message + 6, name, strlen(name));
	if (write(socket, message, 4 + bytes) != 4 + (ssize_t)bytes)
		die("request");
}

/* Passes the `theirs` end of a new pipe over and returns the other. CRIU leaves the pipe's size to the streamer. */
static int send_pipe(int socket, int theirs)
{
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) < 0)
		die("pipe");
	char byte = 0;
	struct iovec part = { &byte, 1 };
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { .head = { CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS } };
	memcpy(CMSG_DATA(&control.head), &ends[theirs], sizeof(int));
	struct msghdr message = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control,
	};
	if (sendmsg(socket, &message, 0) < 0)
		die("sendmsg");
	close(ends[theirs]);
	return ends[1 - theirs];
}

static uint64_t dump_file(int socket, const char *name, uint64_t bytes)
{
	send_name(socket, name);
	int fd = send_pipe(socket, 0);
	send_bytes(fd, bytes);
	close(fd);
	return bytes;
}

uint64_t criu_dump(int socket, const struct image *image)
{
	uint64_t bytes = 0;
	char name[32];
	for (unsigned i = 0; i < image->small; i++) {
		small_name(name, i);
		bytes += dump_file(socket, name, SMALL_BYTES);
	}
	bytes += dump_file(socket, "pages-1.img", image->bytes);
	return bytes + dump_file(socket, "inventory.img", SMALL_BYTES);
}

static void read_exactly(int fd, void *buffer, size_t bytes)
{
	for (size_t done = 0; done < bytes;) {
		ssize_t got = read(fd, (char *)buffer + done, bytes - done);
		if (got <= 0)
			die("reply");
		done += got;
	}
}

static uint64_t restore_file(int socket, const char *name)
{
	static char buffer[1 << 20];
	uint32_t length;
	uint8_t reply[16] = { 0 };
	send_name(socket, name);
	read_exactly(socket, &length, 4);
	if (length > sizeof reply)
		die("reply");
	read_exactly(socket, reply, length);
	if (length < 2 || reply[1] != 1) {
		fprintf(stderr, "load: the streamer has no %s\n", name);
		exit(1);
	}
	int fd = send_pipe(socket, 1);
	uint64_t bytes = 0;
	ssize_t got;
	while ((got = read(fd, buffer, sizeof buffer)) > 0)
		bytes += got;
	if (got < 0)
		die(name);
	close(fd);
	return bytes;
}

uint64_t criu_restore(int socket, const struct image *image)
{
	char name[32];
	uint64_t bytes = restore_file(socket, "inventory.img");
	for (unsigned i = 0; i < image->small; i++) {
		small_name(name, i);
		bytes += restore_file(socket, name);
	}
	return bytes + restore_file(socket, "pages-1.img");
}
