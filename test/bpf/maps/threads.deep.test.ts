import { test } from 'vitest';
import { stressHash, stressLru, stressRing, stressTrie } from '../../support/map-threads.ts';

test('a hash, by three threads, for long', () => stressHash(5_000_000));
test('an LRU hash, by three threads, for long', () => stressLru(3_000_000));
test('a trie, by three threads, for long', () => stressTrie(5_000_000));
test('a ring buffer, from three threads to a fourth, for long', () => stressRing(500_000));
