/**
 * Consistency of the image, the compose file, the manifest and their page with each other, and with the defaults in the
 * code.
 */
import { globSync, readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { parse, parseAllDocuments } from 'yaml'
import { readSettings } from '../../../../examples/order-payment/container/settings.ts'
import { serviceNames } from '../../../../examples/order-payment/service-names.ts'

const EXAMPLE = 'examples/order-payment'
const SECONDS = 1_000

interface Probe {
  readonly httpGet: { readonly path: string; readonly port: string }
}

interface Container {
  readonly env: ReadonlyArray<{ readonly name: string; readonly value?: string; readonly valueFrom?: unknown }>
  readonly ports: ReadonlyArray<{ readonly name: string; readonly containerPort: number }>
  readonly livenessProbe: Probe
  readonly readinessProbe: Probe
  readonly startupProbe?: Probe
  readonly resources: { readonly limits: Readonly<Record<string, string>> }
  readonly lifecycle?: { readonly preStop: { readonly sleep: { readonly seconds: number } } }
}

interface Resource {
  readonly kind: string
  readonly metadata: { readonly name: string }
  readonly data?: Readonly<Record<string, string>>
  readonly stringData?: Readonly<Record<string, string>>
  readonly spec: {
    readonly replicas: number
    readonly maxUnavailable?: number
    readonly selector: { readonly matchLabels: Readonly<Record<string, string>> }
    readonly strategy: { readonly rollingUpdate: unknown }
    readonly template: {
      readonly metadata: { readonly labels: Readonly<Record<string, string>> }
      readonly spec: {
        readonly terminationGracePeriodSeconds: number
        readonly securityContext: { readonly runAsNonRoot: boolean }
        readonly containers: readonly [Container]
      }
    }
  }
}

const read = (path: string): string => readFileSync(path, 'utf8')
const resources = parseAllDocuments(read(`${EXAMPLE}/kubernetes.yaml`)).map((each) => each.toJS() as Resource)
const ofKind = (kind: string): readonly Resource[] => resources.filter((resource) => resource.kind === kind)
const config = { ...ofKind('ConfigMap')[0]?.data, ...ofKind('Secret')[0]?.stringData }

describe('the manifest', () => {
  test('has a deployment and a budget for each service', () => {
    const names = (kind: string) => ofKind(kind).map(({ metadata }) => metadata.name)
    expect(names('Deployment').toSorted()).toEqual(serviceNames.toSorted())
    expect(names('PodDisruptionBudget').toSorted()).toEqual(serviceNames.toSorted())
    for (const { metadata, spec } of ofKind('PodDisruptionBudget')) {
      expect(spec.selector.matchLabels).toEqual({ 'app.kubernetes.io/name': metadata.name })
      expect(spec.maxUnavailable).toBe(1)
    }
  })

  test.each(ofKind('Deployment'))(
    '$metadata.name gets the service’s environment, and has time to close',
    ({ metadata, spec }) => {
      const pod = spec.template.spec
      const [container] = pod.containers
      const given = Object.fromEntries(container.env.map(({ name, value }) => [name, value]))
      const settings = readSettings({ ...config, ...given, INSTANCE: `${metadata.name}-5d4f8-abcde` })
      expect(settings.service).toBe(metadata.name)
      expect(container.env.find(({ name }) => name === 'INSTANCE')?.valueFrom).toEqual({
        fieldRef: { fieldPath: 'metadata.name' },
      })
      const preStop = container.lifecycle?.preStop.sleep.seconds ?? 0
      expect(pod.terminationGracePeriodSeconds).toBe(preStop + settings.closeTimeoutMs / SECONDS + 10)
      expect(spec.replicas).toBeGreaterThanOrEqual(2)
      expect(spec.strategy.rollingUpdate).toEqual({ maxSurge: 1, maxUnavailable: 0 })
      expect(spec.template.metadata.labels).toMatchObject(spec.selector.matchLabels)
      expect(pod.securityContext.runAsNonRoot).toBe(true)
      expect(container.ports).toContainEqual({ name: 'probes', containerPort: settings.port })
      expect(container.livenessProbe.httpGet).toEqual({ path: '/live', port: 'probes' })
      expect(container.readinessProbe.httpGet).toEqual({ path: '/ready', port: 'probes' })
      expect(container.startupProbe).toBeUndefined()
      expect(Object.keys(container.resources.limits)).toEqual(['memory'])
    },
  )
})

describe('docs/production/kubernetes.md', () => {
  const page = read('docs/production/kubernetes.md')

  test.each([
    ['parts.elections.stopGraceMs', 'election/leader/options.ts', 'stopGraceMs'],
    ['drainTimeoutMs', 'service/service.ts', 'drainTimeoutMs'],
    ['drainTimeoutMs', 'outbox/relay-options.ts', 'drainTimeoutMs'],
    ['closeOnSignals.timeoutMs', 'service/close-on-signals.ts', 'timeoutMs'],
    ['parts.elections.ttlMs', 'election/leader/options.ts', 'ttlMs'],
    ['parts.relay.leaseMs', 'outbox/relay-options.ts', 'leaseMs'],
    ['parts.coordinator.leaseMs', 'saga/coordinator/options.ts', 'leaseMs'],
    ['postgresTransport.leaseMs', 'binder/postgres/options.ts', 'leaseMs'],
  ])('cites the default of %s as %s has it', (cited, file, option) => {
    const before = read(file).split(`  readonly ${option}?:`)[0] ?? ''
    const [, documented] = before.match(/@default (\d+) seconds?[^@]*$/) ?? []
    const rows = page.split('\n').filter((line) => line.includes(`\`${cited}\``) && line.startsWith('|'))
    expect(rows.length).toBeGreaterThan(0)
    for (const row of rows) expect(row).toContain(`| ${documented} |`)
  })
})

describe('the Dockerfile', () => {
  const lines = read(`${EXAMPLE}/Dockerfile`).split('\n')

  test('passes the signal to node, runs it without root, and leaves its health to node', () => {
    expect(lines).toContain('STOPSIGNAL SIGTERM')
    expect(lines.findLast((line) => line.startsWith('USER '))).toBe('USER 1000:1000')
    for (const form of ['ENTRYPOINT', 'CMD', '  CMD']) {
      const line = lines.find((each) => each.startsWith(`${form} `)) ?? ''
      const command = JSON.parse(line.slice(form.length)) as readonly string[]
      for (const path of command.filter((part) => part.endsWith('.ts'))) expect(read(path)).not.toBe('')
    }
    expect(lines.filter((line) => line.startsWith('FROM '))).toEqual([
      'FROM ${NODE_IMAGE} AS modules',
      'FROM ${NODE_IMAGE}',
    ])
  })

  test('brings every package that the example imports', () => {
    const copied =
      lines
        .find((line) => line.includes('runtime-modules.ts'))
        ?.split('/modules ')[1]
        ?.split(' ') ?? []
    const imported = globSync(`${EXAMPLE}/**/*.ts`).flatMap((file) =>
      Array.from(read(file).matchAll(/(?:from|import\() ?'([^.'][^']*)'/g), ([, name = '']) => name),
    )
    const packages = imported.filter((name) => !name.startsWith('node:') && !name.startsWith('concordat'))
    expect(copied.toSorted()).toEqual([...new Set(packages)].toSorted())
  })
})

interface ComposeService {
  readonly profiles?: readonly string[]
  readonly environment?: Readonly<Record<string, string>>
  readonly stop_grace_period?: string
  readonly command?: readonly string[]
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>
}

describe('the profile of compose.yaml', () => {
  const { services } = parse(read('compose.yaml'), { merge: true }) as {
    readonly services: Readonly<Record<string, ComposeService>>
  }
  const inProfile = Object.entries(services).filter(([, { profiles }]) => profiles?.includes('example'))

  test('has every service, and starts none without the profile', () => {
    expect(inProfile.map(([name]) => name).toSorted()).toEqual(serviceNames.toSorted())
    expect(services['intake']?.profiles).toEqual(['intake'])
  })

  test.each(inProfile)('%s waits for its servers, and has time to close', (name, service) => {
    const environment = Object.fromEntries(
      Object.entries(service.environment ?? {}).map(([key, value]) => [key, String(value)]),
    )
    const settings = readSettings(environment)
    expect(settings.service).toBe(name)
    expect(Number.parseInt(service.stop_grace_period ?? '', 10) * SECONDS).toBeGreaterThanOrEqual(
      settings.closeTimeoutMs + 10_000,
    )
    const servers = ['postgres', 'redis', 'rabbitmq'].map((server) => [server, { condition: 'service_healthy' }])
    expect(service.depends_on).toEqual(Object.fromEntries(servers))
  })

  test('the intake sends its orders to where the services are', () => {
    const { RUN_ID, RABBITMQ_URL, POSTGRES_URL, REDIS_URL } = services['orders']?.environment ?? {}
    expect(services['intake']?.command?.slice(1)).toEqual([
      '--attach',
      `--run-id=${RUN_ID}`,
      '--transport=rabbitmq',
      `--rabbitmq=${RABBITMQ_URL}`,
      `--postgres=${POSTGRES_URL}`,
      `--redis=${REDIS_URL}`,
    ])
  })
})
