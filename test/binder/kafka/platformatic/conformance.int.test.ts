import { transportConformance } from '../../../conformance/transport.ts'
import { platformaticOn } from '../../../support/kafka-driver.ts'
import { describeWith, serverUrl } from '../../../support/servers/index.ts'

const shared = new Error('this broker is shared')
const broker = { kill: () => Promise.reject(shared), restart: () => Promise.reject(shared) }

/** What kills brokers is in `npm run test:platformatic`, with all other tests of Kafka on this driver. */
describeWith(['kafka'], 'Kafka on platformatic', () => {
  transportConformance(
    'kafka on platformatic',
    async () => ({
      transport: () => platformaticOn(serverUrl('kafka') as string),
      broker,
      close: () => Promise.resolve(),
    }),
    { killsBroker: false },
  )
})
