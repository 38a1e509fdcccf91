// The tests of the fast suite, with full counts.
import './keyed-codecs.test.ts';
