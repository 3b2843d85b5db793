/** The client libraries that tests of Kafka can run on; the first one unless `KAFKA_DRIVER` names another. */
export const KAFKA_DRIVERS = ['kafkajs', 'platformatic'] as const

export const KAFKA_DRIVER = process.env['KAFKA_DRIVER'] ?? KAFKA_DRIVERS[0]
