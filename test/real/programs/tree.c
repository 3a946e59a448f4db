/*
 * tree PATH: a process and three children, in a ring of pipes and each connected to the parent by a unix socket, with shared
 * memory and private memory. Bytes wait in a pipe and in a socket pair, and a unix socket listens at PATH. On SIGUSR1 all of
 * it is checked, and one line has the result: "1: right", or the error. Prints "ready" first.
 */
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "asked.h"

enum { CHILDREN = 3, SHARED = 8 << 20, OWN = 4 << 20 };
static const char waiting[] = "sent before the dump";
static uint64_t *shared;
static volatile uint64_t *word;
static int ring[CHILDREN + 1][2], line[CHILDREN][2], pipe_ends[2], pair_ends[2], listener;
static struct sockaddr_un address = { .sun_family = AF_UNIX };

/* Passes on every number of the ring, one higher, and answers at its socket whether its memory is right. */
static void child(int number)
{
	uint64_t *own = area_of(OWN, MAP_PRIVATE), token;
	fill(own, OWN, 10 + number, 0);
	if (fork() == 0) { /* the ring is a separate process, so that the tree has a third level */
		while (read(ring[number][0], &token, sizeof token) == sizeof token) {
			token++;
			if (write(ring[number + 1][1], &token, sizeof token) != sizeof token)
				break;
		}
		_exit(1);
	}
	while (read(line[number][1], &token, sizeof token) == sizeof token) {
		int right = wrong(own, OWN, 10 + number, 0) < 0 && wrong(shared, SHARED, 1, 0) < 0 && *word == token;
		token = right;
		if (write(line[number][1], &token, sizeof token) != sizeof token)
			break;
	}
	_exit(1);
}

static const char *check(uint64_t round)
{
	char text[sizeof waiting];
	if (read(pipe_ends[0], text, sizeof text) != sizeof text || strcmp(text, waiting))
		return "the bytes in the pipe are wrong";
	if (write(pipe_ends[1], waiting, sizeof waiting) != sizeof waiting)
		return "the pipe takes no bytes";
	if (read(pair_ends[0], text, sizeof text) != sizeof text || strcmp(text, waiting))
		return "the bytes in the socket pair are wrong";
	if (write(pair_ends[1], waiting, sizeof waiting) != sizeof waiting)
		return "the socket pair takes no bytes";

	uint64_t token = round;
	if (write(ring[0][1], &token, sizeof token) != sizeof token)
		return "the ring takes no bytes";
	if (read(ring[CHILDREN][0], &token, sizeof token) != sizeof token || token != round + CHILDREN)
		return "the ring counts wrong";

	*word = round;
	for (int i = 0; i < CHILDREN; i++) {
		token = round;
		if (write(line[i][0], &token, sizeof token) != sizeof token)
			return "a child's socket takes no bytes";
		if (read(line[i][0], &token, sizeof token) != sizeof token || token != 1)
			return "the memory of a child is wrong";
	}

	int client = socket(AF_UNIX, SOCK_STREAM, 0), server;
	if (connect(client, (struct sockaddr *)&address, sizeof address) || (server = accept(listener, NULL, NULL)) < 0)
		return "nothing listens at the path";
	close(client);
	close(server);
	return wrong(shared, SHARED, 1, 0) < 0 ? "right" : "the shared memory is wrong";
}

int main(int argc, char **argv)
{
	prepare();
	signal(SIGPIPE, SIG_IGN);

	shared = area_of(SHARED, MAP_SHARED);
	word = area_of(4096, MAP_SHARED);
	fill(shared, SHARED, 1, 0);
	for (int i = 0; i <= CHILDREN; i++)
		if (pipe(ring[i]) || (i < CHILDREN && socketpair(AF_UNIX, SOCK_STREAM, 0, line[i])))
			return 1;
	for (int i = 0; i < CHILDREN; i++)
		if (fork() == 0)
			child(i);

	strncpy(address.sun_path, argc > 1 ? argv[1] : "socket", sizeof address.sun_path - 1);
	listener = socket(AF_UNIX, SOCK_STREAM, 0);
	if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 4)) {
		perror(address.sun_path);
		return 1;
	}
	if (pipe(pipe_ends) || socketpair(AF_UNIX, SOCK_DGRAM, 0, pair_ends) ||
	    write(pipe_ends[1], waiting, sizeof waiting) < 0 || write(pair_ends[1], waiting, sizeof waiting) < 0)
		return 1;
	printf("ready\n");
	for (uint64_t round = 1;; round++) {
		wait_until_asked();
		printf("%lu: %s\n", (unsigned long)round, check(round));
	}
}
