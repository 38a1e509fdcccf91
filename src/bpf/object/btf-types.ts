/** Kinds of types by number (Linux include/uapi/linux/btf.h, BTF_KIND_…). */
export const KINDS = [
  'void',
  'int',
  'ptr',
  'array',
  'struct',
  'union',
  'enum',
  'fwd',
  'typedef',
  'volatile',
  'const',
  'restrict',
  'func',
  'func_proto',
  'var',
  'datasec',
  'float',
  'decl_tag',
  'type_tag',
  'enum64',
] as const;

export type BtfKind = (typeof KINDS)[number];

/** A member of a struct or union. */
export interface BtfMember {
  /** Empty for an anonymous struct or union. */
  readonly name: string;
  readonly type: number;
  /** Bits from the start of the struct. */
  readonly bitOffset: number;
  /** Bits of a bitfield; 0 when it is none. */
  readonly bits: number;
}

/** A variable of a section. */
export interface BtfVariable {
  /** Id of its VAR. */
  readonly type: number;
  readonly offset: number;
  readonly bytes: number;
}

interface Common {
  readonly id: number;
  /** Empty when it has none. */
  readonly name: string;
}

/** A type by its kind. `type` is the id of the type that it is about; sizes are bytes. */
export type BtfType = Common &
  (
    | { readonly kind: 'void' }
    | { readonly kind: 'int'; readonly bytes: number; readonly bits: number; readonly signed: boolean; bool: boolean }
    | { readonly kind: 'float'; readonly bytes: number }
    | {
        readonly kind: 'ptr' | 'typedef' | 'volatile' | 'const' | 'restrict' | 'type_tag' | 'decl_tag';
        readonly type: number;
      }
    | { readonly kind: 'func' | 'var'; readonly type: number /** BTF_FUNC_…, BTF_VAR_…: 0 static. */; linkage: number }
    | { readonly kind: 'array'; readonly type: number; readonly index: number; readonly count: number }
    | { readonly kind: 'struct' | 'union'; readonly bytes: number; readonly members: readonly BtfMember[] }
    | {
        readonly kind: 'enum' | 'enum64';
        readonly bytes: number;
        readonly signed: boolean;
        readonly values: readonly { readonly name: string; readonly value: bigint }[];
      }
    | { readonly kind: 'fwd'; readonly union: boolean }
    | {
        readonly kind: 'func_proto';
        readonly type: number;
        readonly parameters: readonly { readonly name: string; readonly type: number }[];
      }
    | { readonly kind: 'datasec'; readonly bytes: number; readonly variables: readonly BtfVariable[] }
  );

/** The type of one kind, or of one of several. */
export type BtfTypeOf<Kind extends BtfKind> = BtfType & { readonly kind: Kind };
