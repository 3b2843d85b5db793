/** All targets, by name in the order in which `all` plays them. */
import type { Target } from './target.ts'
import { busEnvelope, busOutcome, busReport } from './targets/bus.ts'
import { headers, payload, replies } from './targets/headers.ts'
import { httpAnswer, httpRequest } from './targets/http.ts'
import { kafkaRecord, lz4Frame, snappyFrame } from './targets/kafka.ts'
import { kafkaAnswer, kafkaBatch } from './targets/kafka-wire.ts'
import { expression, stateMachine } from './targets/language.ts'
import { cloudEvent, deadLetter, logRow, outboxRow } from './targets/messages.ts'
import { asyncapi, commandLine, consoleDeed, consoleLook, cursor, shownPayload } from './targets/operators.ts'
import { amqpMessage, amqpTable } from './targets/rabbitmq.ts'
import { benchReport, proofRun } from './targets/reports.ts'
import { sagaCommand, sagaReply, transactionHeader } from './targets/sagas.ts'
import { schemaParts } from './targets/schemas.ts'
import { clusterRows, redisCluster, redisLocks, redlockValues } from './targets/stores.ts'
import { oneTimeToken, picture, sagaAnswered } from './targets/strangers.ts'

export const TARGETS: readonly Target[] = [
  kafkaRecord,
  lz4Frame,
  snappyFrame,
  kafkaBatch,
  kafkaAnswer,
  amqpMessage,
  amqpTable,
  cloudEvent,
  logRow,
  outboxRow,
  deadLetter,
  busEnvelope,
  busOutcome,
  busReport,
  sagaCommand,
  sagaReply,
  sagaAnswered,
  transactionHeader,
  httpRequest,
  httpAnswer,
  headers,
  replies,
  payload,
  redisLocks,
  redlockValues,
  redisCluster,
  clusterRows,
  stateMachine,
  expression,
  commandLine,
  consoleLook,
  consoleDeed,
  cursor,
  shownPayload,
  asyncapi,
  schemaParts,
  picture,
  oneTimeToken,
  benchReport,
  proofRun,
]
