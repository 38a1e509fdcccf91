import { test } from 'vitest';
import { stressHash, stressLru, stressRing, stressTrie } from '../../support/map-threads.ts';

test('a hash, by three threads', () => stressHash(60_000));
test('an LRU hash, by three threads', () => stressLru(30_000));
test('a trie, by three threads', () => stressTrie(60_000));
test('a ring buffer, from three threads to a fourth', () => stressRing(20_000));
