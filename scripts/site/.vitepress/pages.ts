/** Table of contents. `test/house/site.test.ts` checks that it has every page. */

const page = (text: string, link: string) => ({ text, link })
const section = (text: string, folder: string, pages: Readonly<Record<string, string>>) => ({
  text,
  items: Object.entries(pages).map(([name, title]) => page(title, `/${folder}${folder === '' ? '' : '/'}${name}`)),
})

export const SIDEBAR = [
  section('Start', 'start', {
    why: 'Why Concordat',
    'getting-started': 'Five minutes',
    'which-part': 'Which part do I need?',
    deployment: 'Deployment',
    testing: 'Testing your code',
  }),
  section('Messages', 'messages', {
    channels: 'Channels',
    handlers: 'Handlers',
    'errors-and-dead-letters': 'Errors and dead letters',
    'exactly-once': 'Exactly-once effects',
    'batches-and-flow': 'Batches and flow control',
    'request-reply': 'Requests and routes',
    pipelines: 'Pipelines',
    declarations: 'AsyncAPI',
  }),
  section('Transactions', 'transactions', {
    choosing: 'Choosing',
    sagas: 'Sagas',
    participants: 'Participants',
    steps: 'Kinds of steps',
    tcc: 'TCC',
    'xa-and-undo': 'XA and undo',
    global: 'Global transactions',
    http: 'Over HTTP',
    failures: 'When something fails',
    sharding: 'Several databases',
    'state-language': 'State language',
  }),
  section('Coordination', 'coordination', {
    locks: 'Locks',
    fencing: 'Fencing',
    leaders: 'Leaders and schedules',
    'members-and-state': 'Members and shared state',
    bus: 'Bus',
  }),
  section('Brokers and stores', 'brokers', {
    choosing: 'Comparison',
    kafka: 'Kafka',
    rabbitmq: 'RabbitMQ',
    postgres: 'PostgreSQL',
    redis: 'Redis',
  }),
  section('Production', 'production', {
    checklist: 'Checklist',
    migrations: 'Migrations and upgrades',
    permissions: 'Permissions',
    operating: 'Operating',
    console: 'Console',
    telemetry: 'Telemetry',
    monitoring: 'Alerts and dashboards',
    kubernetes: 'Kubernetes',
    scaling: 'Scaling',
    backup: 'Backup and restore',
  }),
  section('Recipes', '', { recipes: 'Recipes' }),
  section('Frameworks', 'frameworks', {
    service: 'Services',
    composing: 'Composing parts yourself',
    http: 'Express, Fastify, Hono',
    nest: 'NestJS',
    orms: 'ORMs',
  }),
  section('Migrating', 'migrating', {
    'from-kafkajs-and-amqplib': 'From kafkajs or amqplib',
    'from-spring-cloud-stream': 'From Spring Cloud Stream',
    'from-seata': 'From Seata',
  }),
  section('Reference', '', {
    guarantees: 'Guarantees',
    comparison: 'Comparison with other tools',
    'reference/errors': 'Error codes',
    'reference/options': 'Options',
    'reference/wire-format': 'Wire format',
    'reference/supported': 'Supported versions',
    'reference/glossary': 'Glossary',
    'api/README': 'API',
    security: 'Security',
    changelog: 'Changes',
  }),
  { text: 'Decisions', items: [page('Decision records', '/decisions/')] },
  section('Contributing', 'contributing', {
    guide: 'Guide',
    architecture: 'Architecture',
    'how-we-test': 'How we test',
    'guarantees-by-test': 'Guarantees and their tests',
    'upstream-losses': 'Where others lose messages',
    benchmarks: 'Benchmarks',
  }),
]

export const NAV = [
  page('Start', '/start/getting-started'),
  page('Recipes', '/recipes'),
  page('Guarantees', '/guarantees'),
  page('API', '/api/README'),
]
