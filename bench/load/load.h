/* Load generators of the bench: the programs on both sides of a streamer, in C so that they are never the slow part. */
#ifndef LOAD_H
#define LOAD_H

#include <stddef.h>
#include <stdint.h>

/* Payload is taken from this memory repeatedly. 256 MiB does not fit in a CPU's cache, like the memory of an application. */
#define RING_BYTES (256u << 20)
#define PAGE 4096u
/* Size of a small image file, like CRIU's fdinfo and core files. */
#define SMALL_BYTES 400u

enum feed { FEED_NONE, FEED_STREAM, FEED_RAW, FEED_TAR };

/* The content of a dump: `small` small files, and one of `bytes` bytes. */
struct image {
	uint64_t bytes;
	unsigned small;
};

/* main.c */
double now(void);
void die(const char *what);

/* ring.c */
void ring_make(void);
const char *ring_at(uint64_t offset, size_t *length);
void warm(uint64_t bytes);

/* criu.c: the dumping and the restoring stand-in; both return the payload bytes moved. */
uint64_t criu_dump(int socket, const struct image *image);
uint64_t criu_restore(int socket, const struct image *image);
int criu_connect(const char *dir, const char *name);
void small_name(char name[32], unsigned index);

/* stream.c */
void feed(enum feed kind, int fd, const struct image *image, unsigned shard, unsigned shards, int by_reference);
uint64_t drain(int fd);

/* watch.c: memory in use on the whole machine, sampled by a thread. */
void watch_start(void);
uint64_t watch_stop(void);

#endif
