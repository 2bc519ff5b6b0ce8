// Which pages of guest RAM a stream has, and how it has them. A byte for each page of which something came, in pieces that
// are made when they are needed, and counts for each piece: so a map of a terabyte is drawn from some thousand numbers.

import type { OnRamPlace, Ram, RamPlaceKind } from "../../migration/index.ts";
import { cellKinds, type PagePlace, type RamMapPart } from "./protocol.ts";

/** Pages of one piece. */
const pieceSize = 4096;
/** Places of pages' contents are kept for so many pieces: with pages of 4 KiB, 32 GiB of guest RAM in 96 MiB. */
const maxPlaces = 2048;

/** By {@link codeOf}. */
const codes: readonly (RamPlaceKind | "absent")[] = ["absent", "page", "zero", "xbzrle", "compressed", "filled"];
const codeOf = { page: 1, zero: 2, xbzrle: 3, compressed: 4, filled: 5 } as const;
/** Of each code, its place in {@link cellKinds}. */
const cellOf = [4, 0, 1, 2, 3, 1] as const;

interface Piece {
  readonly codes: Uint8Array;
  /** How many pages have each code. */
  readonly counts: Uint32Array;
  /** Where each page's content is, and its size; undefined if that is not kept. */
  readonly at: Float64Array | undefined;
  readonly sizes: Uint32Array | undefined;
}

/** A map while it is made, and after. */
export interface RamMap {
  /** For `readMigration`. The last thing that came of a page counts. */
  readonly note: OnRamPlace;
  /** Counts for `cells` cells of `perCell` pages from page `first` on. */
  part(block: string, first: number, perCell: number, cells: number): RamMapPart;
  page(block: string, page: number): PagePlace;
}

/** Pages of a block as the map counts them. */
export interface MapBlock {
  readonly pageSize: number;
  readonly pages: number;
}

/** The blocks that a map has pages of. */
export function mapBlocks(ram: Ram | undefined): Map<string, MapBlock> {
  return new Map(
    ram?.blocks.map(({ name, usedLength, mapped }) => {
      const pageSize = mapped?.pageSize ?? ram.pageSize;
      return [name, { pageSize, pages: Math.ceil(usedLength / pageSize) }];
    }),
  );
}

/** An empty map of these blocks. */
export function ramMap(known: ReadonlyMap<string, MapBlock>): RamMap {
  const blocks = new Map<string, Map<number, Piece>>();
  let placed = 0;
  // Pages come in order mostly: block and piece are those of the page before.
  let lastName = "";
  let pieces = new Map<number, Piece>();
  let pageSize = 4096;
  let lastIndex = -1;
  let piece: Piece | undefined;
  const enter = (block: string): void => {
    pieces = blocks.get(block) ?? new Map();
    blocks.set(block, pieces);
    pageSize = known.get(block)?.pageSize ?? 4096;
    lastName = block;
    lastIndex = -1;
  };
  const newPiece = (): Piece => {
    placed += 1;
    const kept = placed <= maxPlaces;
    const counts = new Uint32Array(codes.length);
    counts[0] = pieceSize;
    return {
      codes: new Uint8Array(pieceSize),
      counts,
      at: kept ? new Float64Array(pieceSize) : undefined,
      sizes: kept ? new Uint32Array(pieceSize) : undefined,
    };
  };
  return {
    note: (block, offset, kind, at, size) => {
      if (block !== lastName || lastIndex < 0) enter(block);
      const page = Math.floor(offset / pageSize);
      const index = Math.floor(page / pieceSize);
      if (index !== lastIndex || piece === undefined) {
        piece = pieces.get(index) ?? newPiece();
        pieces.set(index, piece);
        lastIndex = index;
      }
      const inPiece = page % pieceSize;
      const code = codeOf[kind];
      const before = piece.codes[inPiece] as number;
      if (before !== code) {
        piece.counts[before] = (piece.counts[before] as number) - 1;
        piece.counts[code] = (piece.counts[code] as number) + 1;
        piece.codes[inPiece] = code;
      }
      if (piece.at !== undefined) piece.at[inPiece] = at;
      if (piece.sizes !== undefined) piece.sizes[inPiece] = size;
    },
    part: (block, first, perCell, cells) =>
      partOf(blocks.get(block) ?? new Map(), first, perCell, cells, known.get(block)?.pages ?? 0),
    page: (block, page) => {
      const own = blocks.get(block)?.get(Math.floor(page / pieceSize));
      const inPiece = page % pieceSize;
      const kind = codes[own?.codes[inPiece] ?? 0] ?? "absent";
      if (kind === "absent") return { kind, at: undefined, size: 0 };
      return { kind, at: own?.at?.[inPiece], size: own?.sizes?.[inPiece] ?? 0 };
    },
  };
}

function partOf(
  pieces: ReadonlyMap<number, Piece>,
  first: number,
  perCell: number,
  cells: number,
  pages: number,
): RamMapPart {
  const counts = new Uint32Array(cells * cellKinds.length);
  for (let cell = 0; cell < cells; cell++) {
    const base = cell * cellKinds.length;
    const from = first + cell * perCell;
    const to = Math.min(pages, from + perCell);
    for (let page = from; page < to; ) {
      const inPiece = page % pieceSize;
      const end = Math.min(to, page - inPiece + pieceSize);
      add(counts, base, pieces.get(Math.floor(page / pieceSize)), inPiece, end - page);
      page = end;
    }
  }
  return { counts };
}

/** Adds `length` pages of a piece to a cell's counts. */
function add(counts: Uint32Array, base: number, piece: Piece | undefined, from: number, length: number): void {
  const one = (code: number, count: number): void => {
    const at = base + (cellOf[code as 0] ?? 4);
    counts[at] = (counts[at] as number) + count;
  };
  if (piece === undefined) one(0, length);
  else if (length === pieceSize)
    for (let code = 0; code < codes.length; code++) one(code, piece.counts[code] as number);
  else for (let page = from; page < from + length; page++) one(piece.codes[page] as number, 1);
}
