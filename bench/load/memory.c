/* The memory that payload is taken from, and the warming of memory. */
#define _GNU_SOURCE
#include "load.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static char *ring;
static size_t ring_bytes;

static char *map(size_t bytes, int advice)
{
	char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		die("mmap");
	madvise(memory, bytes, advice);
	return memory;
}

/* Fills pages so that they compress to a half, like most memory: of each, a half is random, and a half one word repeated. */
void fill(char *memory, uint64_t bytes)
{
	uint64_t random = 88172645463325252u, *words = (uint64_t *)memory, per_page = PAGE / 8;
	for (uint64_t i = 0; i < bytes / 8; i++) {
		if (i % per_page < per_page / 2) {
			random ^= random << 13;
			random ^= random >> 7;
			random ^= random << 17;
		}
		words[i] = random;
	}
}

/* In pages of 4 KiB, as most of an application's, and not larger than an image of `bytes` bytes needs. */
void ring_make(uint64_t bytes)
{
	ring_bytes = bytes < PAGE ? PAGE : bytes < RING_BYTES ? bytes : RING_BYTES;
	ring = map(ring_bytes, MADV_NOHUGEPAGE);
	fill(ring, ring_bytes);
}

/* The memory for payload offset `offset`; `length` is limited to the end of the ring. */
void *ring_at(uint64_t offset, size_t *length)
{
	size_t at = offset % ring_bytes;
	if (*length > ring_bytes - at)
		*length = ring_bytes - at;
	return ring + at;
}

/*
 * A virtual machine returns free memory to its host, and gets it back one slow page fault at a time. Touching as much as a
 * run needs just before it keeps that out of the figures.
 */
void warm(uint64_t bytes)
{
	if (bytes == 0)
		return;
	char *memory = map(bytes, MADV_HUGEPAGE);
	for (uint64_t at = 0; at < bytes; at += PAGE)
		memory[at] = 1;
	munmap(memory, bytes);
}

static void *sleep_on(void *unused)
{
	for (;;)
		pause();
	return unused;
}

/* Prints a line when its memory is filled and its threads run, and sleeps. */
int hold(uint64_t bytes, unsigned threads)
{
	pthread_t thread;
	fill(map(bytes, MADV_NOHUGEPAGE), bytes);
	for (unsigned i = 1; i < threads; i++)
		if (pthread_create(&thread, NULL, sleep_on, NULL) != 0)
			die("thread");
	if (write(1, "ready\n", 6) != 6)
		die("stdout");
	/* CRIU refuses a process whose output is a pipe to another one. */
	dup2(0, 1);
	sleep_on(NULL);
	return 0;
}
