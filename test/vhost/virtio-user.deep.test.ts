// The tests of the fast suite, with full counts.
import './virtio-user.test.ts';
