/*
 * hugetlb private|shared: holds four huge pages. On SIGUSR1 it checks them, and one line has the result: "8 MB, right".
 * Prints "ready" first.
 */
#include <string.h>
#include "asked.h"

#define BYTES (8 << 20)

int main(int argc, char **argv)
{
	prepare();
	int shared = argc > 1 && !strcmp(argv[1], "shared");
	uint64_t *memory = area_of(BYTES, MAP_HUGETLB | (shared ? MAP_SHARED : MAP_PRIVATE));
	fill(memory, BYTES, 1, 0);
	puts("ready");
	for (;;) {
		wait_until_asked();
		puts(wrong(memory, BYTES, 1, 0) < 0 ? "8 MB, right" : "8 MB, wrong");
	}
}
