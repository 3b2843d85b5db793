import { kafkaTransport } from 'concordat/binder/kafka'
import { Kafka, logLevel } from 'kafkajs'
import { kafkaWorks } from './kafka-works.ts'
import { serveSide } from './side.ts'

await serveSide((scene) => {
  const kafka = new Kafka({ brokers: scene.address.split(','), clientId: 'bench', logLevel: logLevel.NOTHING })
  return kafkaWorks(scene, (times) => kafkaTransport({ kafka, ...times }))
})
