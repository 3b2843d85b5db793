/**
 * Servers in Docker, for machines without local binaries. testcontainers is loaded only here and only when Docker may
 * answer; its reaper removes the containers if this process dies, unless `TESTCONTAINERS_RYUK_DISABLED` is set.
 */
import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import type * as testcontainers from 'testcontainers'
import { lastLines } from './command.ts'
import { type EngineHost, engineHost, type Image, images } from './container-images.ts'
import { type ServerKind, ServerUnavailable } from './kinds.ts'
import { freePort } from './ports.ts'

export interface ContainerServer {
  readonly url: string
  stop(): Promise<void>
}

type Testcontainers = typeof testcontainers
type Engine = testcontainers.ContainerRuntimeClient

/** Same as for a local server; the pull of its image comes before. */
const ANSWER_WITHIN_MS = 240_000
/** A port that is free on this machine may be taken on the engine's. */
const PORT_TRIES = 5
const PORT_TAKEN = /port is already allocated|address already in use/

/**
 * Starts this server in Docker; undefined when no Docker engine answers.
 * @throws ServerUnavailable with the image and the end of its log when the container fails; the reason of `signal` when that aborts
 */
export async function startContainer(
  kind: ServerKind,
  { signal }: { signal?: AbortSignal | undefined } = {},
): Promise<ContainerServer | undefined> {
  if (!mayHaveDocker()) return undefined
  const library = await import('testcontainers')
  const engine = await library.getContainerRuntimeClient().catch(() => undefined)
  if (engine === undefined) return undefined
  const place = { library, engine, host: engineHost(engine.info.containerRuntime.host), signal, removals: [] }
  const starting = startOn(place, kind)
  // A pull cannot be cancelled. Its result is ignored, and never started.
  return signal === undefined ? starting : Promise.race([starting, givenUp(signal, starting, place)])
}

interface Place {
  readonly library: Testcontainers
  readonly engine: Engine
  readonly host: EngineHost
  readonly signal: AbortSignal | undefined
  /** Containers that are no longer needed. */
  readonly removals: Array<Promise<unknown>>
}

async function startOn(place: Place, kind: ServerKind): Promise<ContainerServer> {
  const image = images[kind]
  for (let attempt = 1; ; attempt += 1) {
    // Not one of the engine's own choosing: those are in the range of outgoing connections, see ports.ts.
    const port = await freePort()
    const attempted: Attempt = { port, log: [], started: new AbortController() }
    try {
      const container = await define(place, image, attempted).start()
      attempted.started.abort()
      return { url: image.url(place.host.name, port), stop: async () => void (await container.stop()) }
    } catch (error) {
      // testcontainers leaves a container that did not start.
      await attempted.remove?.()
      place.signal?.throwIfAborted()
      if (attempt < PORT_TRIES && PORT_TAKEN.test(String(error))) continue
      throw failure(kind, image, error, attempted.log.join(''))
    }
  }
}

interface Attempt {
  readonly port: number
  readonly log: string[]
  /** Aborted when it runs and answers: from then on its caller stops it. */
  readonly started: AbortController
  /** Since there is a container. Never rejects. */
  remove?: () => Promise<unknown>
}

function define(
  { library, engine, host, signal, removals }: Place,
  image: Image,
  attempt: Attempt,
): testcontainers.GenericContainer {
  /** testcontainers publishes on every interface, and has no option for it. */
  class Container extends library.GenericContainer {
    protected override async beforeContainerCreated(): Promise<void> {
      signal?.throwIfAborted()
      for (const bindings of Object.values(this.hostConfig.PortBindings as PortBindings)) {
        for (const binding of bindings) binding.HostIp = host.publishedOn
      }
    }

    /** Removes it at once when it is no longer needed, whatever its state. */
    protected override async containerCreated(id: string): Promise<void> {
      attempt.remove = () =>
        engine.container
          .getById(id)
          .remove({ force: true, v: true })
          .catch(() => {})
      const remove = (): void => void removals.push(attempt.remove?.() ?? Promise.resolve())
      if (signal?.aborted === true) remove()
      else signal?.addEventListener('abort', remove, { once: true, signal: attempt.started.signal })
      await Promise.all(removals)
      signal?.throwIfAborted()
    }
  }
  const inside = image.knowsItsAddress === true ? attempt.port : image.port
  const container = new Container(image.name)
    .withExposedPorts({ container: inside, host: attempt.port })
    .withWaitStrategy(library.Wait.forLogMessage(image.ready.line, image.ready.times))
    .withStartupTimeout(ANSWER_WITHIN_MS)
    .withLogConsumer(
      (stream: Readable) => void stream.on('data', (chunk) => attempt.log.push(String(chunk))).on('error', () => {}),
    )
  if (image.command !== undefined) container.withCommand([...image.command])
  if (image.environment !== undefined) container.withEnvironment({ ...image.environment(host, inside) })
  return container
}

type PortBindings = Readonly<Record<string, Array<{ HostIp?: string; HostPort: string }>>>

/** A line that names the server, the image and the remedy; below it the end of the container's log. */
function failure(kind: ServerKind, image: Image, cause: unknown, log: string): ServerUnavailable {
  const said = (cause instanceof Error ? cause.message : String(cause)).replaceAll(/\s+/g, ' ').trim()
  const tail = lastLines(log)
  return new ServerUnavailable(kind, `Docker cannot run ${image.name}: ${said}`, {
    cause,
    remedy: `look at "docker pull ${image.name}"`,
    ...(tail === '' ? {} : { log: `The end of its log:\n${tail}` }),
  })
}

/** Rejects when the signal has aborted and the container, if any, is removed. */
function givenUp(signal: AbortSignal, starting: Promise<unknown>, { removals }: Place): Promise<never> {
  return new Promise((_, reject) => {
    const abort = async (): Promise<void> => {
      // Its result is no longer awaited: its failure must not end the process.
      starting.catch(() => {})
      await Promise.resolve()
      await Promise.allSettled(removals)
      reject(signal.reason as Error)
    }
    if (signal.aborted) void abort()
    else signal.addEventListener('abort', () => void abort(), { once: true })
  })
}

/** Loading testcontainers takes about a second; without a socket of any engine it is not worth trying. */
function mayHaveDocker(): boolean {
  if (process.env['DOCKER_HOST'] !== undefined) return true
  const rootless = [join(homedir(), '.docker/run/docker.sock'), join(homedir(), '.docker/desktop/docker.sock')]
  const runtime = process.env['XDG_RUNTIME_DIR']
  const own = runtime === undefined ? [] : [join(runtime, 'docker.sock')]
  return ['/var/run/docker.sock', ...rootless, ...own].some((path) => existsSync(path))
}
