/* Memory that can be checked: every word encodes its area, its index and how often the area was written. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

/* Seconds after which a program ends, whatever happens to its test. */
enum { LONGEST = 900 };

static uint64_t pattern(uint64_t area, uint64_t generation, uint64_t place)
{
	uint64_t x = (area << 56) ^ (generation << 40) ^ place;
	x *= 0x9e3779b97f4a7c15u; /* the golden ratio: neighbours differ in many bits */
	return x ^ (x >> 29);
}

static void fill(uint64_t *memory, size_t bytes, uint64_t area, uint64_t generation)
{
	for (size_t i = 0; i < bytes / 8; i++)
		memory[i] = pattern(area, generation, i);
}

/* The first wrong word, or -1. */
static long wrong(const uint64_t *memory, size_t bytes, uint64_t area, uint64_t generation)
{
	for (size_t i = 0; i < bytes / 8; i++)
		if (memory[i] != pattern(area, generation, i))
			return (long)i;
	return -1;
}

static void *area_of(size_t bytes, int flags)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	return memory;
}
