/*
 * DPDK's rte_ring as ringway's bench uses its own: pointers of 8 bytes in bursts, pushed and popped on one core, or
 * pushed on one and popped on another. Prints the median ns per element over windows of 5 ms in which every thread had
 * its CPU.
 *
 *     rte-ring EAL-ARGUMENTS -- sp/sc|mp/mc BURST
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_lcore.h>
#include <rte_ring.h>

#define SLOTS 1024
#define BURST_MAX 32
#define WINDOWS 80
#define WARM_UP 20
#define TURNS 256
/* A window counts when the threads had this share of it. */
#define SHARE_MIN 0.97

static struct rte_ring *ring;
static unsigned int burst;
static volatile int stop;
static volatile int producing;
static clockid_t producer_clock;

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static int produce(void *unused)
{
	void *objects[BURST_MAX] = {0};

	(void)unused;
	pthread_getcpuclockid(pthread_self(), &producer_clock);
	producing = 1;
	while (!stop)
		rte_ring_enqueue_burst(ring, objects, burst, NULL);
	return 0;
}

/* Seconds of CPU time on `clock`. */
static double spent(clockid_t clock)
{
	struct timespec time;

	clock_gettime(clock, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

static double measure(int alone)
{
	static double windows[WINDOWS];
	void *objects[BURST_MAX] = {0};
	double hz = rte_get_tsc_hz();
	clockid_t other = alone ? CLOCK_THREAD_CPUTIME_ID : producer_clock;
	int counted = 0;

	for (int i = 0; i < WARM_UP + WINDOWS; i++) {
		double mine = spent(CLOCK_THREAD_CPUTIME_ID), theirs = spent(other);
		uint64_t from = rte_rdtsc(), now, popped = 0;

		do {
			for (int turn = 0; turn < TURNS; turn++) {
				if (alone)
					rte_ring_enqueue_burst(ring, objects, burst, NULL);
				popped += rte_ring_dequeue_burst(ring, objects, burst, NULL);
			}
			now = rte_rdtsc();
		} while (now - from < hz / 200);
		double least = SHARE_MIN * (now - from) / hz;

		if (i >= WARM_UP && popped > 0 && spent(CLOCK_THREAD_CPUTIME_ID) - mine >= least &&
		    spent(other) - theirs >= least)
			windows[counted++] = (now - from) / hz * 1e9 / popped;
	}
	if (counted == 0) {
		fprintf(stderr, "other programs had the CPU in all windows\n");
		exit(1);
	}
	qsort(windows, counted, sizeof(double), compare);
	return windows[counted / 2];
}

int main(int argc, char **argv)
{
	int used = rte_eal_init(argc, argv);

	if (used < 0 || argc - used < 3)
		return 2;
	burst = atoi(argv[used + 2]);
	if (burst < 1 || burst > BURST_MAX)
		return 2;
	ring = rte_ring_create("bench", SLOTS, SOCKET_ID_ANY,
			       strcmp(argv[used + 1], "sp/sc") == 0 ? RING_F_SP_ENQ | RING_F_SC_DEQ : 0);
	if (ring == NULL)
		return 1;
	unsigned int other = rte_get_next_lcore(-1, 1, 0);

	if (other < RTE_MAX_LCORE) {
		rte_eal_remote_launch(produce, NULL, other);
		while (!producing)
			rte_pause();
	}
	printf("%.4f\n", measure(other >= RTE_MAX_LCORE));
	stop = 1;
	rte_eal_mp_wait_lcore();
	return 0;
}
