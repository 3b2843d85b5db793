import { kafka } from './kafka.ts'
import type { ServerKind } from './kinds.ts'
import { mariadb } from './mariadb.ts'
import { postgres } from './postgres.ts'
import { type PrivateServer, type StartOptions, startPrivateServer } from './private-server.ts'
import { rabbitmq } from './rabbitmq.ts'
import type { Recipe } from './recipe.ts'
import { redis } from './redis.ts'

export const recipes: Readonly<Record<ServerKind, Recipe>> = { postgres, redis, rabbitmq, kafka, mariadb }

/**
 * Starts a private server from local binaries; resolves when it answers. It ends with this process at the latest.
 * @throws ServerUnavailable when this machine lacks something; Error with the end of its log when it does not start
 */
export function startServer(kind: ServerKind, options?: StartOptions): Promise<PrivateServer> {
  return startPrivateServer(recipes[kind], options)
}
