import { writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { findBinary, versionedFolders } from './binaries.ts'
import type { Certificates } from './certificates.ts'
import { ServerUnavailable } from './kinds.ts'
import { PING_STEP_MS, type Recipe, type Site } from './recipe.ts'

/**
 * RabbitMQ: user and password `guest`, no plugins. Debian's `/usr/sbin/rabbitmq-server` switches to another user and reads
 * the machine's own configuration, so the script below it is called, with every path given.
 */
export const rabbitmq: Recipe = {
  kind: 'rabbitmq',
  stopSignal: 'SIGKILL',
  require: async () => {
    serverScript()
    if (findBinary('erl') === undefined) throw new ServerUnavailable('rabbitmq', 'no erl (Erlang) in PATH')
  },
  prepare: async (site) => {
    const lines = Object.entries(settings(site)).map(([name, value]) => `${name} = ${value}`)
    await writeFile(join(site.folder, 'rabbitmq.conf'), `${lines.join('\n')}\n`)
    await writeFile(join(site.folder, 'enabled_plugins'), '[].\n')
    await writeFile(join(site.folder, 'rabbitmq-env.conf'), '')
  },
  command: (site) => ({ file: serverScript(), args: [], env: environment(site) }),
  url: (site) => `amqp://guest:guest@127.0.0.1:${site.port}`,
  ping,
}

const settings = (site: Site): Readonly<Record<string, string>> => ({
  'listeners.tcp.1': `127.0.0.1:${site.port}`,
  'log.console': 'true',
  'log.file': 'false',
  'vm_memory_high_watermark.absolute': '512MB',
  'disk_free_limit.absolute': '50MB',
  ...site.settings,
})

export const ERL_ARGS: string = [
  // Its schedulers spin while they wait for work, which takes the core from other processes.
  '+sbwt none +sbwtdcpu none +sbwtdio none',
  // A restarted node starts its quorum queues before its exchanges. A message that expires in between finds none, and is tried
  // again after this time, by default 3 min.
  '-rabbit dead_letter_worker_publisher_confirm_timeout 5000',
].join(' ')

function environment(site: Site): Record<string, string> {
  return {
    // The Erlang cookie is written to the home folder: a fresh one spares the user's own.
    HOME: site.folder,
    RABBITMQ_NODENAME: nodeName(site.port),
    RABBITMQ_DIST_PORT: String(site.innerPort),
    RABBITMQ_BASE: site.folder,
    RABBITMQ_MNESIA_BASE: join(site.folder, 'data'),
    RABBITMQ_LOG_BASE: join(site.folder, 'log'),
    RABBITMQ_CONFIG_FILE: join(site.folder, 'rabbitmq.conf'),
    RABBITMQ_CONF_ENV_FILE: join(site.folder, 'rabbitmq-env.conf'),
    RABBITMQ_ENABLED_PLUGINS_FILE: join(site.folder, 'enabled_plugins'),
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: ERL_ARGS,
    // Makes the script replace itself by the server instead of waiting beside it, so that our pid is the server's.
    RUNNING_UNDER_SYSTEMD: 'true',
  }
}

/** Name of a node among its peers. */
export const nodeName = (port: number): string => `concordat-${port}@localhost`

function serverScript(): string {
  const found = findBinary('rabbitmq-server', versionedFolders('/usr/lib/rabbitmq/lib', 'sbin'))
  if (found === undefined) throw new ServerUnavailable('rabbitmq', 'no rabbitmq-server in /usr/lib/rabbitmq or PATH')
  return found
}

/** A tool of the same version, such as `rabbitmqctl`. */
export function toolPath(name: string): string {
  const found = findBinary(name, [dirname(serverScript())])
  if (found === undefined) throw new ServerUnavailable('rabbitmq', `no ${name} beside rabbitmq-server`)
  return found
}

async function ping(url: string): Promise<void> {
  const { connect } = await import('amqplib')
  const connection = await connect(url, { timeout: PING_STEP_MS })
  connection.on('error', () => {})
  await connection.close()
}

/** Settings of one that also takes TLS connections, from clients with a certificate alone. */
export function tlsSettings(port: number, { files }: Pick<Certificates, 'files'>): Record<string, string> {
  return {
    'listeners.ssl.1': `127.0.0.1:${port}`,
    'ssl_options.cacertfile': files.ca,
    'ssl_options.certfile': files.cert,
    'ssl_options.keyfile': files.key,
    'ssl_options.verify': 'verify_peer',
    'ssl_options.fail_if_no_peer_cert': 'true',
  }
}
