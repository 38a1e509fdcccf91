import { test } from 'vitest';
import { stressHash, stressLru, stressRing, stressTrie } from '../../support/map-threads.ts';

test('a hash, by three threads', () => stressHash(20_000));
test('an LRU hash, by three threads', () => stressLru(10_000));
test('a trie, by three threads', () => stressTrie(20_000));
test('a ring buffer, from three threads to a fourth', () => stressRing(3_000));
