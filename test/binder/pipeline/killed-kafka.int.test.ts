import { describeWith, serverUrl } from '../../support/servers/index.ts'
import { countsOnce } from './support/killed.ts'

describeWith(['postgres', 'kafka'], 'processes of a pipeline on Kafka that are killed', () => {
  countsOnce({ on: 'kafka', url: () => serverUrl('kafka') ?? '', kills: 2 })
})
