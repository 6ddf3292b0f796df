// What can be done to an order. Each method that is given a locked order has to unlock it, whatever
// way it returns.

import { randomBytes } from 'node:crypto';

import { Inject, Injectable } from '@nestjs/common';
import { Collection, UpdateFilter } from 'mongodb';

import { PaymentDeclined, PaymentGateway } from '../payments/payment-gateway';
import { Order, OrderResponse, ORDERS, paymentOf } from './order';

export interface NewOrder {
  customer: string;
  currency: string;
  lines: { sku: string; name: string; quantity: number; unitPrice: number }[];
}

@Injectable()
export class OrdersService {
  constructor(
    @Inject(ORDERS) private readonly orders: Collection<Order>,
    private readonly payments: PaymentGateway,
  ) {}

  async CreateOrder({ customer, currency, lines }: NewOrder): Promise<OrderResponse> {
    const total = lines.reduce((sum, line) => sum + line.quantity * line.unitPrice, 0);
    const order: Order = {
      _id: `ord_${randomBytes(12).toString('hex')}`,
      locked: null,
      status: 'pending',
      customer,
      currency,
      lines: lines.map((line, index) => ({ line: index + 1, ...line, fulfilled: 0, returned: 0 })),
      total,
      payment: { status: 'none', authorized: 0, captured: 0, refunded: 0 },
      metadata: {},
    };
    await this.orders.insertOne(order);
    return { status: 201, result: order };
  }

  FindOrder(id: string): Promise<Order | null> {
    return this.orders.findOne({ _id: id });
  }

  async ConfirmLockedOrder(order: Order, key: string): Promise<OrderResponse> {
    if (order.status !== 'pending') {
      return this.unlock(order, key, 409, `an order that is ${order.status} cannot be confirmed`);
    }
    const records = order.payment.records ?? [];
    const due = order.total - order.payment.captured;
    if (due > 0) {
      try {
        const reference = await this.payments.capture(order._id, due, key);
        records.push({ kind: 'capture', amount: due, reference });
      } catch (error) {
        if (error instanceof PaymentDeclined) {
          return this.unlock(order, key, 402, error.message);
        }
        throw error;
      }
    }
    const payment = paymentOf(order.total, records);
    return this.update(order, key, { $set: { status: 'confirmed', payment, locked: null } });
  }

  async CancelLockedOrder(order: Order, key: string, reason?: string): Promise<OrderResponse> {
    if (!['draft', 'pending', 'confirmed'].includes(order.status)) {
      return this.unlock(order, key, 409, `an order that is ${order.status} cannot be cancelled`);
    }
    if (order.lines.some((line) => line.fulfilled > 0)) {
      return this.unlock(order, key, 409, 'something of the order is delivered');
    }
    const lines = order.lines.map((line) => ({ ...line, cancelled: line.quantity }));
    const cancelled = { status: 'cancelled', lines, ...(reason ? { cancelReason: reason } : {}) };
    return this.update(order, key, { $set: { ...cancelled, locked: null } });
  }

  async RefundLockedOrder(order: Order, key: string, amount: number): Promise<OrderResponse> {
    const paid = order.payment.captured - order.payment.refunded;
    if (!Number.isInteger(amount) || amount < 1 || amount > paid) {
      return this.unlock(order, key, 409, `between 1 and ${paid} can be refunded`);
    }
    const records = [...(order.payment.records ?? []), { kind: 'refund' as const, amount, reference: key }];
    const payment = paymentOf(order.total, records);
    return this.update(order, key, { $set: { payment, locked: null } });
  }

  private async update(order: Order, key: string, change: UpdateFilter<Order>): Promise<OrderResponse> {
    // If the lock is somebody else's by now, this matches nothing, and the answer is 200 with null.
    const result = await this.orders.findOneAndUpdate({ _id: order._id, locked: key }, change, {
      returnDocument: 'after',
    });
    return { status: 200, result };
  }

  private async unlock(order: Order, key: string, status: number, message: string): Promise<OrderResponse> {
    await this.orders.updateOne({ _id: order._id, locked: key }, { $set: { locked: null } });
    return { status, result: { ...order, locked: null }, message };
  }
}
