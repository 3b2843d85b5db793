import { describeWith, serverUrl } from '../../support/servers/index.ts'
import { countsOnce } from './support/killed.ts'

describeWith(['postgres', 'rabbitmq'], 'processes of a pipeline on RabbitMQ that are killed', () => {
  countsOnce({ on: 'rabbitmq', url: () => serverUrl('rabbitmq') ?? '', kills: 2 })
})
