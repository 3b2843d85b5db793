/** The mistakes that can be built in (`--broken`), around the library in the processes of the run: it has no switch for them. */
import type { Mistake } from '../harness/suite.ts'

const BROKERS = ['rabbitmq', 'kafka'] as const

export const CLUSTER_MISTAKES = {
  'confirms-first': {
    what: 'a message is said to be confirmed before the cluster has it: the outbox forgets it',
    faults: ['two-down', 'kill-leader', 'replace'],
    breaks: 'nothing is lost',
    on: BROKERS,
  },
  'settles-first': {
    what: 'a message is settled before its handler runs',
    faults: ['promotion', 'login-taken', 'frozen-promotion'],
    breaks: 'nothing is lost',
    on: BROKERS,
  },
  'no-inbox': {
    what: 'what was handled is not remembered: what comes again is handled again',
    faults: ['kill-leader', 'two-down', 'cut-clients'],
    breaks: 'no effect twice',
    on: BROKERS,
  },
  'no-fence': {
    what: 'holders write without a look at the fence',
    faults: ['stale-failover', 'freeze-leader', 'kill-leader'],
    breaks: 'no stale write',
    on: 'redis',
  },
} as const satisfies Readonly<Record<string, Mistake>>
