// A value that cannot be printed by accident: not by string conversion, JSON, inspection or enumeration.
const inspect = Symbol.for('nodejs.util.inspect.custom')

export class Secret {
  readonly #value: string
  /** The name of the variable it came from; safe to show. */
  readonly name: string

  constructor(name: string, value: string) {
    this.name = name
    this.#value = value
  }

  /** The value itself. Call it at the place of use only, and keep the result out of objects that live on. */
  reveal(): string {
    return this.#value
  }

  toString(): string {
    return `[secret ${this.name}]`
  }

  toJSON(): string {
    return this.toString()
  }

  [inspect](): string {
    return this.toString()
  }
}
