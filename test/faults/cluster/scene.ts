/** The servers of a run, with the network between them and their clients. */
import { CLIENTS, type PostgresPair, portOf, startPostgresPair } from '../../support/servers/cluster/index.ts'
import { Link } from '../harness/link.ts'
import type { Setting } from '../harness/suite.ts'
import type { Ensemble } from './ensemble.ts'
import { KafkaEnsemble } from './ensemble-kafka.ts'
import { RabbitEnsemble } from './ensemble-rabbitmq.ts'
import { RedisEnsemble } from './ensemble-redis.ts'
import type { Place, TransportName } from './place.ts'

export class Scene {
  readonly pair: PostgresPair
  readonly ensemble: Ensemble
  readonly transport: TransportName
  /** Link between the clients and the supposed primary. */
  readonly front: Link
  /** Between the primary and its standby. */
  readonly between: Link

  private constructor(
    pair: PostgresPair,
    links: { front: Link; between: Link },
    transport: TransportName,
    ensemble: Ensemble,
  ) {
    this.pair = pair
    this.front = links.front
    this.between = links.between
    this.transport = transport
    this.ensemble = ensemble
  }

  static async open({ signal, transport: named }: Setting): Promise<Scene> {
    const transport = (named ?? 'rabbitmq') as TransportName
    const between = await Link.to(1)
    const via = (port: number): Promise<number> => {
      between.retarget(port)
      return Promise.resolve(between.port)
    }
    const [pair, ensemble] = await Promise.allSettled([
      startPostgresPair({ signal, via }),
      startEnsemble(transport, signal),
    ])
    if (pair.status === 'fulfilled' && ensemble.status === 'fulfilled') {
      const front = await Link.to(portOf(pair.value.primary))
      return new Scene(pair.value, { front, between }, transport, ensemble.value)
    }
    if (pair.status === 'fulfilled') await pair.value.stop()
    if (ensemble.status === 'fulfilled') await ensemble.value.close()
    await between.close()
    throw pair.status === 'rejected' ? pair.reason : (ensemble as PromiseRejectedResult).reason
  }

  get place(): Place {
    const url = (port: number): string => `postgres://${CLIENTS}@127.0.0.1:${port}/postgres`
    const postgresUrls = this.pair.servers.map((server) => url(portOf(server)))
    return { postgresUrl: url(this.front.port), postgresUrls, ...this.ensemble.address }
  }

  async close(): Promise<void> {
    await Promise.all([this.front.close(), this.between.close(), this.ensemble.close(), this.pair.stop()])
  }
}

function startEnsemble(transport: TransportName, signal: AbortSignal): Promise<Ensemble> {
  switch (transport) {
    case 'kafka':
      return KafkaEnsemble.start(signal)
    case 'rabbitmq':
      return RabbitEnsemble.start(signal)
    case 'redis':
      return RedisEnsemble.start()
  }
}
