/*
 * One run. The command is a streamer, with its shards at descriptors from 10 on and its progress at 9; without a command what
 * is on both sides of it is connected, which is the limit of any streamer.
 *   criu=dump|restore  stands in for CRIU at dir=, with bytes= and small= files
 *   reader=SCRIPT      for each shard of a capture; hold=1: it says itself that it has everything, and is then ended
 *   sender=SCRIPT      for each shard of a replay or an extract
 *   link=pipe|tcp|unix|none|/path   what is between them
 *   shards=            how many
 *   settle=MILLIS      between the start of everything, and that of the data and the clock
 *   warm=BYTES         of memory that are touched and freed in between
 *   stop=1             ends the command at its socket-init
 * Prints one line of JSON. `wall` ends when the command and all readers and senders have ended, unless they hold.
 */
#define _GNU_SOURCE
#include "load.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROGRESS_FD 9

/* What is started for a run. */
static struct {
	char **command;
	const char *reader, *sender;
	unsigned shards;
	/* Of each shard; ends[0] to read, ends[1] to write. -1 where it is closed, or the link has none. */
	int ends[MAX_SHARDS][2];
	pid_t child, readers[MAX_SHARDS], senders[MAX_SHARDS];
	/* The progress of the command, up to now. */
	int progress;
	char text[65536];
	size_t length;
} it;

static const char *option(char **args, const char *key, const char *otherwise)
{
	size_t length = strlen(key);
	for (; *args; args++)
		if (strncmp(*args, key, length) == 0 && (*args)[length] == '=')
			return *args + length + 1;
	return otherwise;
}

static unsigned long long number(char **args, const char *key)
{
	return strtoull(option(args, key, "0"), NULL, 10);
}

static void close_ends(int which)
{
	for (unsigned i = 0; i < it.shards; i++)
		if (it.ends[i][which] >= 0)
			close(it.ends[i][which]);
}

/* Starts the readers and the command. A sender is started when its data is wanted. */
static void start_all(const char *link)
{
	int words[2], fds[MAX_SHARDS + 1];
	make_link("pipe", words);
	it.progress = words[0];
	fds[0] = words[1];
	for (unsigned i = 0; i < it.shards; i++) {
		make_link(link, it.ends[i]);
		if (it.reader)
			it.readers[i] = start_script(it.reader, it.ends[i][0], 0);
		fds[i + 1] = it.ends[i][it.sender ? 0 : 1];
	}
	if (*it.command) {
		it.child = start(it.command, fds, it.shards + 1, PROGRESS_FD);
		close_ends(it.sender ? 0 : 1);
	}
	if (it.reader)
		close_ends(0);
	close(words[1]);
}

static void start_senders(void)
{
	for (unsigned i = 0; i < it.shards; i++)
		it.senders[i] = start_script(it.sender, it.ends[i][1], 1);
	close_ends(1);
}

/* Reads progress until there is a line with `word`, or to its end; returns whether it came. */
static int await_progress(const char *word)
{
	ssize_t got;
	while (!strstr(it.text, word)) {
		got = read(it.progress, it.text + it.length, sizeof it.text - 1 - it.length);
		if (got <= 0)
			return 0;
		it.length += got;
	}
	return 1;
}

/* The line of progress with the bytes of each shard, as JSON. */
static const char *shards_line(void)
{
	await_progress("\n{\"shards\"");
	char *line = strstr(it.text, "{\"shards\"");
	if (!line)
		return "null";
	line[strcspn(line, "\n")] = 0;
	return line;
}

static void await_all(const pid_t *pids, const char *script)
{
	for (unsigned i = 0; script && i < it.shards; i++)
		end(pids[i], script);
}

static void stop_readers(void)
{
	for (unsigned i = 0; i < it.shards; i++) {
		kill(it.readers[i], SIGTERM);
		waitpid(it.readers[i], NULL, 0);
	}
}

/* Moves the data, without a command, or between it and a stand-in for CRIU. Returns the bytes that the latter moved. */
static uint64_t move(const char *criu, const char *dir, const struct image *image)
{
	int dumps = strcmp(criu, "dump") == 0;
	uint64_t moved = 0;
	if (!*it.command) {
		if (dumps)
			send_all(it.ends, it.shards, image->bytes);
		else
			moved = discard(it.ends[0][0]);
	} else if (dumps || (strcmp(criu, "restore") == 0 && await_progress("socket-init"))) {
		int socket = criu_connect(dir, dumps ? "streamer-capture.sock" : "streamer-serve.sock");
		moved = dumps ? criu_dump(socket, image) : criu_restore(socket, image);
		close(socket);
	}
	return moved;
}

static double seconds(struct timeval time)
{
	return time.tv_sec + time.tv_usec / 1e6;
}

int run(char **args, char **command)
{
	const char *criu = option(args, "criu", "none");
	struct image image = { number(args, "bytes"), number(args, "small") };
	int stop = number(args, "stop"), holds = number(args, "hold"), dumps = strcmp(criu, "dump") == 0;
	it.command = command;
	it.reader = option(args, "reader", NULL);
	it.sender = option(args, "sender", NULL);
	it.shards = strtoul(option(args, "shards", "1"), NULL, 10);
	if (it.shards < 1 || it.shards > MAX_SHARDS)
		die("shards");

	/* Everything is started first, while this process is small: a child inherits the peak memory of its parent. */
	double started = now();
	start_all(option(args, "link", "pipe"));
	if (*command && (dumps || stop))
		await_progress("socket-init");
	double ready = now() - started;
	if (dumps)
		ring_make(image.bytes);
	usleep(number(args, "settle") * 1000);
	warm(number(args, "warm"));

	watch_start();
	double cpu = cpu_of(it.child), start = now();
	if (it.sender)
		start_senders();
	if (stop)
		kill(it.child, SIGTERM);
	uint64_t moved = stop ? 0 : move(criu, option(args, "dir", "."), &image);
	struct rusage used = { 0 };
	int status = 0;
	if (*command && wait4(it.child, &status, 0, &used) < 0)
		die("wait4");
	if (status != 0 && !stop)
		fail("the command", status);
	await_all(it.senders, it.sender);
	if (!holds)
		await_all(it.readers, it.reader);
	double wall = now() - start;
	if (holds)
		stop_readers();
	printf("{\"moved\":%llu,\"wall\":%.6f,\"ready\":%.6f,\"cpu\":%.6f,\"resident\":%llu,\"held\":%llu,\"progress\":%s}\n",
	       (unsigned long long)moved, wall, ready, seconds(used.ru_utime) + seconds(used.ru_stime) - cpu,
	       (unsigned long long)used.ru_maxrss << 10, (unsigned long long)watch_stop(), shards_line());
	return 0;
}
