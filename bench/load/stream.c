/* Feeders and sinks: write a stream into a streamer's pipe, or read one from it, at full speed. */
#define _GNU_SOURCE
#include "load.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

/* Payload of one marker: a quarter of a shard's pipe of 1 MiB, less the page of the marker itself. */
#define CHUNK_BYTES ((256u << 10) - PAGE)
/* Bytes collected before a write: more than a streamer's pipe takes at once. */
#define BATCH_BYTES (1u << 20)
#define PARTS 1024
#define MARKER_BYTES 64

static struct {
	int fd, by_reference;
	struct iovec parts[PARTS];
	unsigned count;
	size_t bytes;
	uint8_t markers[PARTS * MARKER_BYTES];
	size_t marker_bytes;
} out;

static void write_out(const struct iovec *parts, int count, int by_reference)
{
	struct iovec rest[PARTS];
	memcpy(rest, parts, count * sizeof *parts);
	for (int first = 0; first < count;) {
		ssize_t sent = by_reference ? vmsplice(out.fd, rest + first, count - first, 0) : writev(out.fd, rest + first, count - first);
		if (sent < 0)
			die("feed");
		while (first < count && (size_t)sent >= rest[first].iov_len)
			sent -= rest[first++].iov_len;
		if (first < count) {
			rest[first].iov_base = (char *)rest[first].iov_base + sent;
			rest[first].iov_len -= sent;
		}
	}
}

static void flush(void)
{
	if (out.count > 0)
		write_out(out.parts, out.count, 0);
	out.count = out.bytes = out.marker_bytes = 0;
}

/* Flushes unless there is room for one more part and one more marker. */
static void reserve(void)
{
	if (out.count == PARTS || out.bytes >= BATCH_BYTES || out.marker_bytes + MARKER_BYTES > sizeof out.markers)
		flush();
}

static void add(const void *base, size_t bytes)
{
	reserve();
	out.parts[out.count++] = (struct iovec){ (void *)base, bytes };
	out.bytes += bytes;
}

/* Payload bytes of the image, from `offset` of the ring on. */
static void add_payload(uint64_t offset, uint64_t bytes)
{
	for (uint64_t done = 0; done < bytes;) {
		size_t length = bytes - done;
		const char *base = ring_at(offset + done, &length);
		if (out.by_reference && bytes >= PAGE) {
			flush();
			write_out(&(struct iovec){ (void *)base, length }, 1, 1);
		} else {
			add(base, length);
		}
		done += length;
	}
}

static uint8_t *varint(uint8_t *at, uint64_t value)
{
	for (; value > 127; value >>= 7)
		*at++ = value | 128;
	*at++ = value;
	return at;
}

/* A marker (proto/image.proto) whose body is field `field`: a name, or a number. */
static void add_marker(uint64_t seq, int field, const char *name, uint32_t number)
{
	reserve();
	uint8_t *start = out.markers + out.marker_bytes, *at = start + 4;
	*at++ = 1 << 3;
	at = varint(at, seq);
	*at++ = field << 3 | (name ? 2 : 0);
	at = varint(at, name ? strlen(name) : number);
	if (name)
		at = mempcpy(at, name, strlen(name));
	uint32_t length = at - start - 4;
	memcpy(start, &length, 4);
	add(start, 4 + length);
	out.marker_bytes += 4 + length;
}

/* Writes this shard's part of an image; markers are distributed round-robin, as by a capture with shards of equal speed. */
static void feed_stream(const struct image *image, unsigned shard, unsigned shards)
{
	uint64_t seq = 0;
	char name[32];
#define IS_OWN (seq % shards == shard)
#define MARKER(field, text, number) do { if (IS_OWN) add_marker(seq, field, text, number); seq++; } while (0)
	for (unsigned i = 0; i < image->small + 2; i++) {
		uint64_t bytes = i == image->small ? image->bytes : SMALL_BYTES;
		small_name(name, i);
		MARKER(2, i < image->small ? name : i == image->small ? "pages-1.img" : "inventory.img", 0);
		for (uint64_t done = 0; done < bytes;) {
			uint32_t chunk = bytes - done < CHUNK_BYTES ? bytes - done : CHUNK_BYTES;
			if (IS_OWN) {
				add_marker(seq, 3, NULL, chunk);
				add_payload(done, chunk);
			}
			seq++;
			done += chunk;
		}
		MARKER(4, NULL, 1);
	}
	MARKER(5, NULL, 1);
}

/* One file of a tar archive (ustar), so that tar can be measured on the same bytes. */
static void feed_tar(const struct image *image)
{
	static char block[1024];
	char *sum = block + 148;
	unsigned total = 0;
	snprintf(block, 100, "pages-1.img");
	memcpy(block + 100, "0000644\0000000000\0000000000", 24);
	snprintf(block + 124, 12, "%011llo", (unsigned long long)image->bytes);
	memcpy(block + 136, "00000000000", 12);
	memset(sum, ' ', 8);
	memcpy(block + 156, "0\0", 2);
	memcpy(block + 257, "ustar\00000", 8);
	for (int i = 0; i < 512; i++)
		total += (uint8_t)block[i];
	snprintf(sum, 8, "%06o", total);
	add(block, 512);
	add_payload(0, image->bytes);
	flush();
	memset(block, 0, sizeof block);
	add(block, sizeof block);
}

/*
 * Writes the input of kind `kind` into `fd`. `by_reference`: the pipe refers to pages of the ring, as with a capture on the
 * same host; otherwise bytes are copied into full pages, as by ssh, lz4 and cat.
 */
void feed(enum feed kind, int fd, const struct image *image, unsigned shard, unsigned shards, int by_reference)
{
	out.fd = fd;
	out.by_reference = by_reference;
	if (kind == FEED_STREAM)
		feed_stream(image, shard, shards);
	else if (kind == FEED_TAR)
		feed_tar(image);
	else
		add_payload(0, image->bytes);
	flush();
}

/* Discards the content of a pipe; returns the number of bytes. */
uint64_t drain(int fd)
{
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	uint64_t bytes = 0;
	ssize_t got;
	while ((got = splice(fd, NULL, null, NULL, 1 << 20, SPLICE_F_MOVE)) > 0)
		bytes += got;
	if (got < 0)
		die("drain");
	return bytes;
}
