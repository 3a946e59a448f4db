/*
 * Memory that a run holds: the fall of the machine's available memory below its value just before the start. This includes
 * memory that no process is charged with (pages in pipes, memfds) and that of other programs, and excludes page cache.
 */
#define _GNU_SOURCE
#include "load.h"
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EVERY_MICROS 10000

static pthread_t thread;
static volatile int running;
static uint64_t base, lowest;

static uint64_t available(void)
{
	char text[1024] = "";
	int fd = open("/proc/meminfo", O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, text, sizeof text - 1) < 0)
		die("/proc/meminfo");
	close(fd);
	const char *line = strstr(text, "MemAvailable:");
	return line ? strtoull(line + 13, NULL, 10) << 10 : 0;
}

static void *sample(void *unused)
{
	while (running) {
		uint64_t here = available();
		if (here < lowest)
			lowest = here;
		usleep(EVERY_MICROS);
	}
	return unused;
}

void watch_start(void)
{
	base = lowest = available();
	running = 1;
	if (pthread_create(&thread, NULL, sample, NULL) != 0)
		die("thread");
}

/* Maximum of the held bytes. */
uint64_t watch_stop(void)
{
	running = 0;
	pthread_join(thread, NULL);
	return base - lowest;
}
