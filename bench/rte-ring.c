/*
 * DPDK's rte_ring as ringway's bench uses its own: pointers of 8 bytes in bursts, pushed and popped on one core, or
 * pushed on one and popped on another. Prints the median ns per element over windows of 5 ms.
 *
 *     rte-ring EAL-ARGUMENTS -- sp/sc|mp/mc BURST
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_lcore.h>
#include <rte_ring.h>

#define SLOTS 1024
#define BURST_MAX 32
#define WINDOWS 41
#define WARM_UP 20
#define TURNS 256

static struct rte_ring *ring;
static unsigned int burst;
static volatile int stop;

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static int produce(void *unused)
{
	void *objects[BURST_MAX] = {0};

	(void)unused;
	while (!stop)
		rte_ring_enqueue_burst(ring, objects, burst, NULL);
	return 0;
}

static double measure(int alone)
{
	static double windows[WARM_UP + WINDOWS];
	void *objects[BURST_MAX] = {0};
	uint64_t length = rte_get_tsc_hz() / 200;

	for (int i = 0; i < WARM_UP + WINDOWS; i++) {
		uint64_t from = rte_rdtsc(), now, popped = 0;

		do {
			for (int turn = 0; turn < TURNS; turn++) {
				if (alone)
					rte_ring_enqueue_burst(ring, objects, burst, NULL);
				popped += rte_ring_dequeue_burst(ring, objects, burst, NULL);
			}
			now = rte_rdtsc();
		} while (now - from < length);
		windows[i] = (double)(now - from) / popped / rte_get_tsc_hz() * 1e9;
	}
	qsort(windows + WARM_UP, WINDOWS, sizeof(double), compare);
	return windows[WARM_UP + WINDOWS / 2];
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

	if (other < RTE_MAX_LCORE)
		rte_eal_remote_launch(produce, NULL, other);
	printf("%.4f\n", measure(other >= RTE_MAX_LCORE));
	stop = 1;
	rte_eal_mp_wait_lcore();
	return 0;
}
