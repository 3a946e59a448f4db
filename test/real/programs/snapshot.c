/*
 * snapshot DIRECTORY PID...: saves the memory of stopped processes, each to a file of the directory with the pid in its own
 * namespace as its name: for each mapping its start and end (uint64), and its content. Mappings that cannot be read are left
 * out.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PAGE 4096

static long own_number(const char *pid)
{
	char path[64], line[256];
	long number = 0;
	snprintf(path, sizeof path, "/proc/%s/status", pid);
	FILE *status = fopen(path, "r");
	while (status && fgets(line, sizeof line, status))
		if (!strncmp(line, "NSpid:", 6))
			number = strtol(strrchr(line, '\t') + 1, NULL, 10);
	if (status)
		fclose(status);
	return number;
}

static void copy(const char *directory, const char *pid)
{
	char path[512], line[1024], page[PAGE];
	uint64_t bounds[2];
	snprintf(path, sizeof path, "/proc/%s/maps", pid);
	FILE *maps = fopen(path, "r");
	snprintf(path, sizeof path, "/proc/%s/mem", pid);
	int memory = open(path, O_RDONLY);
	/* A zombie has none. */
	if (memory < 0)
		return;
	snprintf(path, sizeof path, "%s/%ld", directory, own_number(pid));
	FILE *out = fopen(path, "w");
	if (!maps || !out)
		exit(1);
	while (fgets(line, sizeof line, maps)) {
		if (sscanf(line, "%lx-%lx r", &bounds[0], &bounds[1]) != 2 || strstr(line, "[v"))
			continue;
		for (uint64_t at = bounds[0]; at < bounds[1]; at += PAGE) {
			uint64_t one[2] = { at, at + PAGE };
			if (pread(memory, page, PAGE, at) != PAGE)
				continue;
			fwrite(one, sizeof one, 1, out);
			fwrite(page, PAGE, 1, out);
		}
	}
	if (fclose(out))
		exit(1);
	close(memory);
	fclose(maps);
}

int main(int argc, char **argv)
{
	for (int i = 2; i < argc; i++)
		copy(argv[1], argv[i]);
	return 0;
}
