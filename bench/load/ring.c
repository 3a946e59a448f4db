/* The memory that payload is taken from, and the warming of memory. */
#define _GNU_SOURCE
#include "load.h"
#include <string.h>
#include <sys/mman.h>

static char *ring;

static char *map(size_t bytes, int advice)
{
	char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		die("mmap");
	madvise(memory, bytes, advice);
	return memory;
}

/* Pages of 4 KiB, each different, like most pages of an application. */
void ring_make(void)
{
	ring = map(RING_BYTES, MADV_NOHUGEPAGE);
	for (size_t at = 0; at < RING_BYTES; at += PAGE)
		memset(ring + at, (int)(at / PAGE) | 1, PAGE);
}

/* The memory for payload offset `offset`; `length` is limited to the end of the ring. */
const char *ring_at(uint64_t offset, size_t *length)
{
	size_t at = offset % RING_BYTES;
	if (*length > RING_BYTES - at)
		*length = RING_BYTES - at;
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
