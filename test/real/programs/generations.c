/*
 * Writes the number of a generation on every page of its memory, in the order of addresses, as fast as it can: a consistent
 * copy of the memory has at most two generations, the newer one first.
 */
#include <signal.h>
#include <string.h>
#include <unistd.h>
#include "pattern.h"

enum { PAGE = 4096, WORDS = PAGE / 8 };
#define MAGIC 0x67656e6572617465u

static volatile sig_atomic_t asked;

static void ask(int number)
{
	(void)number;
	asked++;
}

int main(int argc, char **argv)
{
	alarm(LONGEST);
	size_t pages = (size_t)(argc > 1 ? atoi(argv[1]) : 64) << 8;
	volatile uint64_t *memory = area_of(pages * PAGE, MAP_PRIVATE);
	for (size_t i = 0; i < pages; i++) {
		volatile uint64_t *page = memory + i * WORDS;
		fill((uint64_t *)page, PAGE, i, 0);
		page[0] = MAGIC;
		page[1] = i;
		page[2] = page[WORDS - 1] = 0;
	}
	signal(SIGUSR1, ask);
	puts("ready");
	fflush(stdout);
	int answered = 0;
	for (uint64_t generation = 1;; generation++) {
		for (size_t i = 0; i < pages; i++) {
			volatile uint64_t *page = memory + i * WORDS;
			page[2] = generation;
			page[WORDS - 1] = generation;
		}
		if (answered == asked)
			continue;
		answered++;
		size_t i = 0;
		for (; i < pages; i++) {
			volatile uint64_t *page = memory + i * WORDS;
			if (page[0] != MAGIC || page[1] != i || page[2] != generation || page[WORDS - 1] != generation)
				break;
			for (size_t word = 3; word < WORDS - 1; word++)
				if (page[word] != pattern(i, 0, word))
					goto out;
		}
	out:
		printf("%llu: %s\n", (unsigned long long)generation, i == pages ? "right" : "wrong");
		fflush(stdout);
	}
}
