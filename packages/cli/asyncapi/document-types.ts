/** The structure of the AsyncAPI 3 documents created here. JSON. */

/** Any JSON object. */
export type JsonObject = Readonly<Record<string, unknown>>

/** A reference to another part of the document. */
export interface AsyncapiReference {
  readonly $ref: string
}

/** The head of the document. Other fields of AsyncAPI (`contact`, `license`, `tags`) are allowed. */
export interface AsyncapiInfo {
  readonly title: string
  /** Version of the document, not of AsyncAPI. */
  readonly version: string
  readonly description?: string | undefined
  readonly [field: string]: unknown
}

/** A broker. Other fields of AsyncAPI (`security`, `variables`, `tags`) are allowed. */
export interface AsyncapiServer {
  /** `kafka.internal:9092` */
  readonly host: string
  /** `kafka`, `kafka-secure`, `amqp`, `amqps`, or another name for another broker. */
  readonly protocol: string
  readonly [field: string]: unknown
}

/** A message of a channel. */
export interface AsyncapiMessage {
  readonly name: string
  readonly contentType: string
  readonly headers: JsonObject
  readonly payload: JsonObject
  readonly examples?: readonly JsonObject[] | undefined
  readonly bindings?: JsonObject | undefined
  readonly [field: string]: unknown
}

/** A channel; `x-concordat` has the properties that AsyncAPI lacks: role, partitions, groups, version of the payload. */
export interface AsyncapiChannel {
  readonly address: string | null
  readonly messages: Readonly<Record<string, AsyncapiMessage>>
  readonly bindings?: JsonObject | undefined
  readonly [field: string]: unknown
}

/** A service's use of a channel; `x-concordat` has the service, its binding and its group. */
export interface AsyncapiOperation {
  readonly action: 'send' | 'receive'
  readonly channel: AsyncapiReference
  readonly messages: readonly AsyncapiReference[]
  readonly bindings?: JsonObject | undefined
  readonly reply?: JsonObject | undefined
  readonly [field: string]: unknown
}

/** An AsyncAPI 3 document. */
export interface AsyncapiDocument {
  readonly asyncapi: string
  readonly info: AsyncapiInfo
  readonly servers?: Readonly<Record<string, AsyncapiServer>> | undefined
  readonly defaultContentType?: string | undefined
  readonly channels: Readonly<Record<string, AsyncapiChannel>>
  readonly operations: Readonly<Record<string, AsyncapiOperation>>
  readonly components: { readonly schemas: Readonly<Record<string, JsonObject>> }
}
