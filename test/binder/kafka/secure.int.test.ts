import { inspect } from 'node:util'
import { Connection } from '@platformatic/kafka'
import { kafkaTransport as onKafkajs } from 'concordat/binder/kafka'
import { platformaticTransport as onPlatformatic } from 'concordat/binder/kafka/platformatic'
import type { Transport } from 'concordat/extension'
import { Kafka, logLevel, type SASLOptions } from 'kafkajs'
import { afterAll, beforeAll, it } from 'vitest'
import type { KafkaCommonOptions } from '../../support/inside/binder.ts'
import { KAFKA_DRIVER } from '../../support/kafka-driver-name.ts'
import { type Certificates, makeCertificates } from '../../support/servers/certificates.ts'
import { describeWith, type PrivateServer, startServer } from '../../support/servers/index.ts'
import { freePort } from '../../support/servers/ports.ts'
import {
  expectConnecting,
  expectExchange,
  expectRefused,
  type SecureService,
  secureService,
} from '../support/secure-service.ts'

const PASSWORD = 'correct-horse-battery'
const WRONG = 'hunter2-hunter2'
const SCRAM_MODULE = 'org.apache.kafka.common.security.scram.ScramLoginModule required;'
const MECHANISMS = ['plain', 'scram-sha-256', 'scram-sha-512'] as const
type Mechanism = (typeof MECHANISMS)[number]
const DENIED = /Check the user, the password and the mechanism/
const UNTRUSTED = /certificate.*Check `(ssl` of new Kafka|tls` of `kafka`) \(the authority to trust/

interface Secrets {
  readonly ssl?: { readonly ca: string[] }
  readonly sasl?: { readonly mechanism: Mechanism; readonly username: string; readonly password: string }
}

function sasl(mechanism: Mechanism, password: string): NonNullable<Secrets['sasl']> {
  return { mechanism, username: 'app', password }
}

/** @param lines takes what the driver logs */
function secureTransport(
  broker: string,
  { ssl, sasl }: Secrets,
  options: KafkaCommonOptions,
  lines: string[],
): Transport {
  if (KAFKA_DRIVER === 'platformatic') {
    const secrets = {
      ...(ssl === undefined ? {} : { tls: ssl }),
      ...(sasl === undefined ? {} : { sasl }),
    }
    return onPlatformatic({
      kafka: { Connection, bootstrapBrokers: [broker], clientId: 'secure', ...secrets },
      ...options,
    })
  }
  const kafka = new Kafka({
    brokers: [broker],
    clientId: 'secure',
    logLevel: logLevel.DEBUG,
    logCreator: () => (entry) => void lines.push(inspect(entry, { depth: 20 })),
    ...(ssl === undefined ? {} : { ssl }),
    ...(sasl === undefined ? {} : { sasl: sasl as SASLOptions }),
  })
  return onKafkajs({ kafka, ...options })
}

describeWith(['kafka'], 'Kafka over TLS with a password', { private: true }, () => {
  let certificates: Certificates
  let server: PrivateServer
  let port: number

  beforeAll(async () => {
    certificates = await makeCertificates()
    port = await freePort()
    server = await startServer('kafka', {
      settings: {
        listeners: `PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{innerPort},SECURE://127.0.0.1:${port}`,
        'advertised.listeners': `PLAINTEXT://127.0.0.1:{port},SECURE://127.0.0.1:${port}`,
        'listener.security.protocol.map': 'PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURE:SASL_SSL',
        'listener.name.secure.ssl.keystore.type': 'PEM',
        'listener.name.secure.ssl.keystore.location': certificates.files.keyAndCert,
        'listener.name.secure.sasl.enabled.mechanisms': 'PLAIN,SCRAM-SHA-256,SCRAM-SHA-512',
        'listener.name.secure.scram-sha-256.sasl.jaas.config': SCRAM_MODULE,
        'listener.name.secure.scram-sha-512.sasl.jaas.config': SCRAM_MODULE,
        'listener.name.secure.plain.sasl.jaas.config': `org.apache.kafka.common.security.plain.PlainLoginModule required user_app="${PASSWORD}";`,
      },
      users: { app: PASSWORD },
    })
  }, 240_000)
  afterAll(async () => {
    await server?.stop()
    await certificates?.[Symbol.asyncDispose]()
  })

  function setup(secrets: Secrets): SecureService {
    const driverLines: string[] = []
    const transport = secureTransport(`127.0.0.1:${port}`, secrets, { connectTimeoutMs: 15_000 }, driverLines)
    return secureService(transport, driverLines)
  }

  it.for(MECHANISMS)(
    'sends and receives with the authority and the password it needs: %s',
    async (mechanism, { expect }) => {
      const service = setup({ ssl: { ca: [certificates.ca] }, sasl: sasl(mechanism, PASSWORD) })
      await expectExchange(service)
      expect(service.shown()).not.toContain(PASSWORD)
    },
  )

  it.for([
    ...MECHANISMS.map(
      (mechanism) => [`a wrong password (${mechanism})`, mechanism, 'ca', WRONG, 'refused', DENIED] as const,
    ),
    ['an authority that did not sign', 'plain', 'otherCa', PASSWORD, 'unavailable', UNTRUSTED] as const,
  ])(
    'with %s it stays connecting with the reason, and shows no secret',
    async ([, mechanism, ca, password, kind, says]) => {
      const service = setup({ ssl: { ca: [certificates[ca]] }, sasl: sasl(mechanism, password) })
      await expectRefused(service, says, kind, [PASSWORD, WRONG])
    },
  )

  it('without TLS it stays connecting with the reason', () => expectConnecting(setup({}), /^kafka: /))
})
