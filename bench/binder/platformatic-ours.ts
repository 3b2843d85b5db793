import { Connection } from '@platformatic/kafka'
import { platformaticTransport } from 'concordat/binder/kafka/platformatic'
import { kafkaWorks } from './kafka-works.ts'
import { serveSide } from './side.ts'

await serveSide((scene) => {
  const kafka = { Connection, clientId: 'bench', bootstrapBrokers: scene.address.split(',') }
  return kafkaWorks(scene, (times) => platformaticTransport({ kafka, ...times }))
})
