import type { PrivateServer } from '../../support/servers/index.ts'
import type { Link } from '../harness/link.ts'
import type { BrokerAddress, Place } from './place.ts'

export interface Node {
  readonly server: PrivateServer
  /** Between clients and this node. */
  readonly link: Link
}

/** The nodes of a broker, or of a store of locks, as faults see them. */
export interface Ensemble {
  readonly nodes: readonly Node[]
  /** How clients find it. */
  readonly address: { readonly broker: BrokerAddress } | Required<Pick<Place, 'redis'>>
  /** The node that leads most, at this moment. */
  leader(): Promise<Node>
  /** Resolves when every copy is in sync again: another node may fail. */
  whole(): Promise<void>
  /** An empty node in the place of one that was killed. */
  replace(node: Node): Promise<void>
  /** Between this node and the others; clients reach all of them. @returns ends it */
  cutOff?(node: Node): Promise<() => Promise<void>>
  close(): Promise<void>
}

export const nameOfNode = (ensemble: Ensemble, node: Node): string => `node ${ensemble.nodes.indexOf(node) + 1}`
