/*
 * load [key=value …] -- COMMAND …: runs one command between load generators, and prints one line of JSON about it.
 *   in=stream|raw|tar   feeds `shards` pipes;          out=1        drains `shards` pipes; both at descriptors from at= on
 *   criu=dump|restore   stands in for CRIU at dir=;    stop=1       ends the command at its socket-init
 *   bytes= small= shards= warm= (bytes)                ref=1        feeds by reference
 * The command has its progress at descriptor 9.
 * load hold BYTES: a process of that size, for a real CRIU to dump.    load drain: discards stdin.
 */
#define _GNU_SOURCE
#include "load.h"
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PROGRESS_FD 9
#define MAX_SHARDS 32
/* Pipe ends get numbers from here on, so that they do not collide with the descriptors of the command. */
#define HIGH_FD 100

double now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

void die(const char *what)
{
	fprintf(stderr, "load: ");
	perror(what);
	exit(1);
}

static const char *option(char **args, const char *key, const char *otherwise)
{
	size_t length = strlen(key);
	for (; *args; args++)
		if (strncmp(*args, key, length) == 0 && (*args)[length] == '=')
			return *args + length + 1;
	return otherwise;
}

static void high_pipe(int ends[2])
{
	int low[2];
	if (pipe(low) < 0)
		die("pipe");
	for (int i = 0; i < 2; i++) {
		ends[i] = fcntl(low[i], F_DUPFD_CLOEXEC, HIGH_FD);
		close(low[i]);
	}
}

/* Forks a helper process that has only `fd` of the pipes; in the child it returns 0. */
static pid_t helper(int *fd)
{
	pid_t pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		*fd = dup2(*fd, 3);
		close_range(4, ~0u, 0);
	}
	return pid;
}

static void give(int fd, int at)
{
	if (dup2(fd, at) < 0)
		die("dup2");
}

/* CPU seconds of a running process, with a resolution of nanoseconds. */
static double cpu_of(pid_t pid)
{
	clockid_t clock;
	struct timespec time = { 0 };
	if (clock_getcpuclockid(pid, &clock) == 0)
		clock_gettime(clock, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

/* Reads progress until socket-init; returns 0 when it ends before. */
static int await_socket(int fd)
{
	static char text[4096];
	size_t length = 0;
	ssize_t got;
	while (length < sizeof text - 1 && (got = read(fd, text + length, sizeof text - 1 - length)) > 0) {
		length += got;
		text[length] = 0;
		if (strstr(text, "socket-init"))
			return 1;
	}
	return 0;
}

static double seconds(struct timeval time)
{
	return time.tv_sec + time.tv_usec / 1e6;
}

/* Memory that this process and its helpers share. */
static void *shared(size_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		die("mmap");
	return memory;
}

static enum feed feed_kind(const char *name)
{
	return !strcmp(name, "stream") ? FEED_STREAM : !strcmp(name, "raw") ? FEED_RAW : !strcmp(name, "tar") ? FEED_TAR : FEED_NONE;
}

static int hold(uint64_t bytes)
{
	char *memory = malloc(bytes);
	for (uint64_t at = 0; at < bytes; at += PAGE)
		memset(memory + at, (int)(at / PAGE) | 1, PAGE);
	pause();
	return 0;
}

int main(int count, char **args)
{
	if (count == 3 && strcmp(args[1], "hold") == 0)
		return hold(strtoull(args[2], NULL, 10));
	if (count == 2 && strcmp(args[1], "drain") == 0)
		return drain(0) == 0;
	char **command = ++args;
	while (*command && strcmp(*command, "--") != 0)
		command++;
	if (!*command || !command[1])
		return fprintf(stderr, "load: no command\n"), 2;
	*command++ = NULL;
	signal(SIGPIPE, SIG_IGN);

	const char *in = option(args, "in", "none"), *criu = option(args, "criu", "none"), *dir = option(args, "dir", ".");
	enum feed kind = feed_kind(in);
	int out = atoi(option(args, "out", "0")), at = atoi(option(args, "at", "10")), stop = atoi(option(args, "stop", "0"));
	int by_reference = atoi(option(args, "ref", "0"));
	unsigned shards = atoi(option(args, "shards", "1"));
	struct image image = {
		.bytes = strtoull(option(args, "bytes", "0"), NULL, 10),
		.small = atoi(option(args, "small", "0")),
	};
	if (shards < 1 || shards > MAX_SHARDS)
		die("shards");

	/* The command's process is created first, while this one is small: a child inherits the peak memory of its parent. */
	int inputs[MAX_SHARDS][2], outputs[MAX_SHARDS][2], progress[2], gate[2];
	high_pipe(progress);
	high_pipe(gate);
	for (unsigned i = 0; i < shards; i++) {
		high_pipe(inputs[i]);
		high_pipe(outputs[i]);
	}
	pid_t child = fork();
	if (child == 0) {
		char go;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(gate[1]);
		if (read(gate[0], &go, 1) != 1)
			_exit(1);
		for (unsigned i = 0; i < shards; i++) {
			if (kind != FEED_NONE)
				give(inputs[i][0], at + i);
			if (out)
				give(outputs[i][1], kind == FEED_NONE ? at + (int)i : 1);
		}
		give(progress[1], PROGRESS_FD);
		signal(SIGPIPE, SIG_DFL);
		execvp(command[0], command);
		die(command[0]);
	}

	ring_make();
	warm(strtoull(option(args, "warm", "0"), NULL, 10));
	pid_t sinks[MAX_SHARDS];
	uint64_t *drained = shared(MAX_SHARDS * sizeof *drained);
	for (unsigned i = 0; i < shards; i++) {
		int fd = outputs[i][0];
		if (out && (sinks[i] = helper(&fd)) == 0) {
			drained[i] = drain(fd);
			_exit(0);
		}
		fd = inputs[i][1];
		if (kind != FEED_NONE && helper(&fd) == 0) {
			feed(kind, fd, &image, i, shards, by_reference);
			_exit(0);
		}
	}
	for (unsigned i = 0; i < shards; i++) {
		for (int end = 0; end < 2; end++) {
			close(inputs[i][end]);
			close(outputs[i][end]);
		}
	}
	close(progress[1]);
	close(gate[0]);

	watch_start();
	double start = now();
	if (write(gate[1], "", 1) != 1)
		die("start");
	int listens = await_socket(progress[0]);
	double ready = now(), ready_cpu = cpu_of(child), joined = ready;
	uint64_t moved = 0, taken = 0;
	if (listens && stop) {
		kill(child, SIGTERM);
	} else if (listens && strcmp(criu, "none") != 0) {
		int dump = strcmp(criu, "dump") == 0;
		int socket = criu_connect(dir, dump ? "streamer-capture.sock" : "streamer-serve.sock");
		joined = now();
		moved = dump ? criu_dump(socket, &image) : criu_restore(socket, &image);
		close(socket);
	}
	int status;
	struct rusage used;
	if (wait4(child, &status, 0, &used) < 0)
		die("wait4");
	for (unsigned i = 0; out && i < shards; i++) {
		waitpid(sinks[i], NULL, 0);
		taken += drained[i];
	}
	double end = now();
	printf("{\"exit\":%d,\"moved\":%llu,\"drained\":%llu,\"wall\":%.6f,\"ready\":%.6f,\"served\":%.6f,\"cpu\":%.6f,\"user\":%.6f,"
	       "\"readyCpu\":%.6f,\"resident\":%llu,\"held\":%llu,\"switches\":%ld}\n",
	       WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), (unsigned long long)moved, (unsigned long long)taken, end - start,
	       ready - start, end - joined, seconds(used.ru_utime) + seconds(used.ru_stime), seconds(used.ru_utime), ready_cpu,
	       (unsigned long long)used.ru_maxrss << 10, (unsigned long long)watch_stop(), used.ru_nvcsw + used.ru_nivcsw);
	return 0;
}
