// The tests of the fast suite, with full counts.
import './events.sim.test.ts';
