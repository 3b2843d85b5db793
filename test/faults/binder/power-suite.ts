/** Brokers whose machines lose power: writes that were not synced are lost. */
import { setTimeout as sleep } from 'node:timers/promises'
import { lossyDiskLack } from '../../support/servers/index.ts'
import type { Random } from '../harness/random.ts'
import type { Suite } from '../harness/suite.ts'
import type { BinderFault } from './fault.ts'
import { lost, whenBusy } from './faults.ts'
import { TOGETHER } from './place.ts'
import type { Site } from './site.ts'
import { binderSuite, Post } from './suite.ts'

const POWER_FAULTS: readonly BinderFault[] = [
  {
    name: 'power-loss',
    what: 'the power of the broker fails while all send and handle',
    play: (site, random) => losePower(site, random, 1),
  },
  {
    name: 'power-loss-again',
    what: 'it fails again when the broker has just begun to answer',
    play: (site, random) => losePower(site, random, 2),
  },
]

export const powerSuite: Suite = {
  ...binderSuite,
  name: 'power',
  faults: POWER_FAULTS,
  mistakes: {
    unsynced: {
      what: 'Kafka: one broker with its usual settings, which leave it to the system when the disk gets what it has confirmed',
      faults: ['power-loss'],
      breaks: 'nothing is lost',
      on: 'kafka',
    },
  },
  transports: TOGETHER,
  lack: lossyDiskLack,
  open: (setting) => Post.open({ ...setting, losesPower: true }, POWER_FAULTS),
}

async function losePower(site: Site, random: Random, times: number): Promise<string | undefined> {
  await sleep(random.between(300, 900))
  const before = lost(site.members)
  const open = await whenBusy(site)
  const gone: number[] = []
  while (gone.length < times) {
    site.fault('the power of the broker fails', site.members)
    gone.push((await site.server.losePower()).length)
    await sleep(random.between(0, 1_000))
    await site.server.start()
    if (gone.length < times) await sleep(random.between(0, 1_000))
  }
  site.note('healed', 'the broker answers')
  const broken = lost(site.members) - before
  await sleep(500)
  // A Kafka that syncs each message loses nothing: `--broken unsynced` shows that the disk does lose what is not synced.
  const mayLoseNothing = site.transport === 'kafka' && !site.isBroken
  if (broken === 0 || open === 0 || (gone.includes(0) && !mayLoseNothing)) return undefined
  return `${gone.join(' and ')} files lost something, ${broken} connections broke, ${open} operations were under way`
}
