// An order as it lies in the collection, and what the operations answer.

export const ORDERS = Symbol('the collection of orders');

export interface Line {
  line: number;
  sku: string;
  name: string;
  quantity: number;
  unitPrice: number;
  fulfilled: number;
  returned: number;
  cancelled?: number;
}

export interface PaymentRecord {
  kind: 'authorization' | 'capture' | 'refund';
  amount: number;
  reference?: string;
}

export interface Payment {
  status: string;
  authorized: number;
  captured: number;
  refunded: number;
  records?: PaymentRecord[];
}

export interface Order {
  _id: string;
  /** The idempotency key of whoever holds the order; null when nobody does. */
  locked: string | null;
  status: string;
  customer?: string;
  currency: string;
  lines: Line[];
  total: number;
  payment: Payment;
  metadata: Record<string, unknown>;
  cancelReason?: string;
}

export interface OrderResponse {
  status: number;
  result: Order | null;
  message?: string;
}

/** What the records of a payment come to. */
export function paymentOf(total: number, records: PaymentRecord[]): Payment {
  const sum = (kind: PaymentRecord['kind']) =>
    records.filter((record) => record.kind === kind).reduce((all, record) => all + record.amount, 0);
  const [authorized, captured, refunded] = [sum('authorization'), sum('capture'), sum('refund')];
  return { status: paymentStatus(total, authorized, captured, refunded), authorized, captured, refunded, records };
}

function paymentStatus(total: number, authorized: number, captured: number, refunded: number): string {
  if (refunded > 0) {
    return refunded === captured ? 'refunded' : 'partiallyRefunded';
  }
  if (captured > 0) {
    return captured >= total ? 'paid' : 'partiallyPaid';
  }
  return authorized > 0 ? 'authorized' : 'none';
}
