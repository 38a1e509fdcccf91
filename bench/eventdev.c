/*
 * DPDK's event devices as ringway's bench uses its own: events of some flows go round through atomic stages, on one
 * worker for each lcore. Prints the median of millions of events a second, of all workers and stages together, over
 * windows of 5 ms in which every worker had its CPU.
 *
 *     eventdev EAL-ARGUMENTS -- event_dsw0|event_sw0 BURST touch|none WORK
 *
 * With touch, each event counts in a record of 64 bytes of its stage and flow. WORK is the length of a chain of
 * multiplications for each event; with the device none the chain alone is timed. The device event_sw0 is scheduled by
 * the only worker, between its bursts.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <rte_cycles.h>
#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_eventdev.h>
#include <rte_lcore.h>
#include <rte_malloc.h>
#include <rte_service.h>

#define STAGES 4
#define FLOWS 1024
#define BURST_MAX 128
#define WORKERS_MAX 16
#define WINDOWS 80
#define WARM_UP 20
#define TURNS 16
/* A window counts when the worker had this share of it. */
#define SHARE_MIN 0.97

static int burst, workers, scheduled;
static unsigned long work;
static uint32_t service;
static uint64_t *records;
static volatile unsigned int ready;
static volatile int go;
static volatile uint64_t sink;
static struct window {
	double rate, share;
} windows[WORKERS_MAX][WARM_UP + WINDOWS];

static double cpu_seconds(void)
{
	struct timespec time;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

static uint64_t chain(uint64_t value)
{
	for (unsigned long i = 0; i < work; i++)
		value = value * 6364136223846793005u + 1442695040888963407u;
	return value;
}

static unsigned int turn(uint8_t port)
{
	static __thread struct rte_event events[BURST_MAX];
	unsigned int n, sent = 0;

	if (workers == 0) {
		for (n = 0; n < 32; n++)
			sink = chain(n);
		return n;
	}
	if (scheduled)
		rte_service_run_iter_on_app_lcore(service, 1);
	n = rte_event_dequeue_burst(0, port, events, burst, 0);
	for (unsigned int i = 0; i < n; i++) {
		struct rte_event *event = &events[i];

		if (records != NULL)
			records[((size_t)event->queue_id * FLOWS + event->flow_id) * 8]++;
		if (work > 0)
			event->u64 = chain(event->u64);
		event->queue_id = event->queue_id + 1 == STAGES ? 0 : event->queue_id + 1;
		event->op = RTE_EVENT_OP_FORWARD;
	}
	while (sent < n) {
		sent += rte_event_enqueue_forward_burst(0, port, events + sent, n - sent);
		if (sent < n && scheduled)
			rte_service_run_iter_on_app_lcore(service, 1);
	}
	return n;
}

static int worker(void *argument)
{
	uintptr_t id = (uintptr_t)argument;
	uint64_t hz = rte_get_tsc_hz();

	__atomic_add_fetch(&ready, 1, __ATOMIC_SEQ_CST);
	while (!go)
		rte_pause();
	for (int i = 0; i < WARM_UP + WINDOWS; i++) {
		double cpu = cpu_seconds();
		uint64_t from = rte_rdtsc(), now, moved = 0;

		do {
			for (int k = 0; k < TURNS; k++)
				moved += turn(id);
			now = rte_rdtsc();
		} while (now - from < hz / 200);
		double seconds = (double)(now - from) / hz;

		windows[id][i].rate = moved / seconds;
		windows[id][i].share = (cpu_seconds() - cpu) / seconds;
	}
	return 0;
}

static void check(int result, const char *what)
{
	if (result >= 0)
		return;
	fprintf(stderr, "%s: %d\n", what, result);
	exit(1);
}

static void set_up(const char *name)
{
	struct rte_event_dev_info info;
	struct rte_event_port_conf port_conf;

	check(rte_eal_hotplug_add("vdev", name, ""), name);
	rte_event_dev_info_get(0, &info);
	int depth = RTE_MIN(BURST_MAX, (int)info.max_event_port_enqueue_depth);
	struct rte_event_dev_config config = {
		.nb_event_queues = STAGES,
		.nb_event_ports = workers,
		.nb_events_limit = RTE_MIN(4096, info.max_num_events),
		.nb_event_queue_flows = info.max_event_queue_flows,
		.nb_event_port_dequeue_depth = RTE_MIN(depth, info.max_event_port_dequeue_depth),
		.nb_event_port_enqueue_depth = depth,
	};
	struct rte_event_queue_conf queue = {
		.nb_atomic_flows = info.max_event_queue_flows,
		.nb_atomic_order_sequences = 1024,
		.schedule_type = RTE_SCHED_TYPE_ATOMIC,
	};

	check(rte_event_dev_configure(0, &config), "configure");
	for (int i = 0; i < STAGES; i++)
		check(rte_event_queue_setup(0, i, &queue), "queue");
	for (int i = 0; i < workers; i++) {
		rte_event_port_default_conf_get(0, i, &port_conf);
		port_conf.new_event_threshold = config.nb_events_limit;
		port_conf.dequeue_depth = config.nb_event_port_dequeue_depth;
		port_conf.enqueue_depth = depth;
		check(rte_event_port_setup(0, i, &port_conf), "port");
		if (rte_event_port_link(0, i, NULL, NULL, 0) != STAGES)
			check(-1, "link");
	}
	if (rte_event_dev_service_id_get(0, &service) == 0) {
		scheduled = 1;
		rte_service_runstate_set(service, 1);
		rte_service_set_runstate_mapped_check(service, 0);
	}
	check(rte_event_dev_start(0), "start");
	for (uint32_t flow = 0; flow < FLOWS; flow += 32) {
		struct rte_event events[32];

		memset(events, 0, sizeof(events));
		for (uint32_t i = 0; i < 32; i++) {
			events[i].flow_id = flow + i;
			events[i].sched_type = RTE_SCHED_TYPE_ATOMIC;
			events[i].op = RTE_EVENT_OP_NEW;
		}
		for (int sent = 0; sent < 32;) {
			sent += rte_event_enqueue_new_burst(0, flow / 32 % workers, events + sent, 32 - sent);
			if (scheduled)
				rte_service_run_iter_on_app_lcore(service, 1);
		}
	}
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

int main(int argc, char **argv)
{
	static double rates[WINDOWS];
	int used = rte_eal_init(argc, argv), counted = 0;
	uintptr_t id = 0;
	unsigned int lcore;

	if (used < 0 || argc - used < 5)
		return 2;
	burst = RTE_MIN(BURST_MAX, atoi(argv[used + 2]));
	work = strtoul(argv[used + 4], NULL, 10);
	if (strcmp(argv[used + 3], "touch") == 0)
		records = rte_zmalloc(NULL, (size_t)STAGES * FLOWS * 64, 64);
	if (strcmp(argv[used + 1], "none") != 0) {
		workers = rte_lcore_count();
		set_up(argv[used + 1]);
	}
	RTE_LCORE_FOREACH_WORKER(lcore)
		rte_eal_remote_launch(worker, (void *)++id, lcore);
	while (ready < id)
		rte_pause();
	go = 1;
	worker((void *)0);
	rte_eal_mp_wait_lcore();
	for (int i = WARM_UP; i < WARM_UP + WINDOWS; i++) {
		double sum = 0;
		int had_cpu = 1;

		for (uintptr_t k = 0; k <= id; k++) {
			sum += windows[k][i].rate;
			had_cpu &= windows[k][i].share >= SHARE_MIN;
		}
		if (had_cpu)
			rates[counted++] = sum;
	}
	if (counted == 0)
		check(-1, "other programs had the CPU in all windows");
	qsort(rates, counted, sizeof(double), compare);
	printf("%.4f\n", rates[counted / 2] / 1e6);
	fflush(stdout);
	_Exit(0);
}
