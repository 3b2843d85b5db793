import { expect, it } from 'vitest'
import { describeWith, lossyDiskLack } from '../support/servers/index.ts'
import { atNight } from '../support/suite/night.ts'
import { faultsCommand, UNTIL_SHOWN } from './played.ts'

const lack = lossyDiskLack()
const unless = lack === undefined ? '' : ` (${lack})`

describeWith(['rabbitmq', 'postgres'], `npm run faults -- power${unless}`, { private: true }, () => {
  const faults = faultsCommand()

  // played.release.test.ts plays it on Kafka.
  it.skipIf(lack).for(['postgres', ...atNight('rabbitmq')])(
    'nothing is lost on %s when its power fails, and fails again',
    UNTIL_SHOWN,
    async (broker) => {
      const { code, output } = await faults.play('power', '--seed', '1', '--seconds', '0', '--transport', broker)
      expect(code, output).toBe(0)
      expect(output).toContain('seed 1: every invariant held, every fault happened')
    },
  )
})
