/*
 * libc's memcpy over buffers in turn, as `ringway bench dma` copies them: ns a copy, the median of 41 windows of 5 ms.
 * Arguments behind `--`: bytes of a copy, buffers on each side, bytes from one buffer to the next.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BURST = 32, WINDOWS = 41 };
static const double WINDOW_NS = 5e6;

static double now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1e9 + time.tv_nsec;
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	int at = 1;
	while (at < argc && strcmp(argv[at], "--") != 0)
		at++;
	if (argc - at != 4)
		return 2;
	/* The compiler must not know the length: it would not call memcpy. */
	volatile size_t given = strtoul(argv[at + 1], NULL, 10);
	size_t bytes = given, buffers = strtoul(argv[at + 2], NULL, 10), stride = strtoul(argv[at + 3], NULL, 10);
	char *source = aligned_alloc(4096, buffers * stride), *target = aligned_alloc(4096, buffers * stride);
	if (source == NULL || target == NULL)
		return 1;
	memset(source, 1, buffers * stride);
	memset(target, 2, buffers * stride);
	double windows[WINDOWS];
	size_t next = 0;
	for (int window = -20; window < WINDOWS; window++) {
		double from = now(), ns;
		uint64_t copies = 0;
		do {
			for (int i = 0; i < BURST; i++) {
				memcpy(target + next * stride, source + next * stride, bytes);
				next = (next + 1) % buffers;
			}
			copies += BURST;
			ns = now() - from;
		} while (ns < WINDOW_NS);
		if (window >= 0)
			windows[window] = ns / copies;
	}
	qsort(windows, WINDOWS, sizeof(windows[0]), ascending);
	printf("%f\n", windows[WINDOWS / 2]);
	return 0;
}
