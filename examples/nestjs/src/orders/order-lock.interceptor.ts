// Locks the order of a request before its handler runs. It unlocks only what a handler throws out
// of: every service method that returns must have unlocked the order in its own update.

import {
  CallHandler,
  ConflictException,
  ExecutionContext,
  Inject,
  Injectable,
  NestInterceptor,
  NotFoundException,
} from '@nestjs/common';
import { Collection } from 'mongodb';
import { catchError, Observable } from 'rxjs';

import { idempotencyKeyOf } from './idempotency-key.decorator';
import { LockedRequest } from './locked-order.decorator';
import { Order, ORDERS } from './order';

@Injectable()
export class OrderLockInterceptor implements NestInterceptor {
  constructor(@Inject(ORDERS) private readonly orders: Collection<Order>) {}

  async intercept(context: ExecutionContext, next: CallHandler): Promise<Observable<unknown>> {
    const request = context.switchToHttp().getRequest<LockedRequest>();
    const key = idempotencyKeyOf(request);
    const order = await this.lock(request.params.id, key);
    request.lockedOrder = order;
    return next.handle().pipe(
      catchError(async (error: unknown) => {
        await this.orders.updateOne({ _id: order._id, locked: key }, { $set: { locked: null } });
        throw error;
      }),
    );
  }

  private async lock(id: string, key: string): Promise<Order> {
    const order = await this.orders.findOneAndUpdate(
      { _id: id, locked: { $in: [null, key] } },
      { $set: { locked: key } },
      { returnDocument: 'after' },
    );
    if (order) {
      return order;
    }
    if (await this.orders.findOne({ _id: id }, { projection: { _id: 1 } })) {
      throw new ConflictException(`order ${id} is locked`);
    }
    throw new NotFoundException(`there is no order ${id}`);
  }
}
