// @LockedOrder(): the order that OrderLockInterceptor has locked for this request.

import { createParamDecorator, ExecutionContext, InternalServerErrorException } from '@nestjs/common';

import { KeyedRequest } from './idempotency-key.decorator';
import { Order } from './order';

export interface LockedRequest extends KeyedRequest {
  params: { id: string };
  lockedOrder?: Order;
}

export const LockedOrder = createParamDecorator((_: unknown, context: ExecutionContext): Order => {
  const { lockedOrder } = context.switchToHttp().getRequest<LockedRequest>();
  if (!lockedOrder) {
    throw new InternalServerErrorException('@LockedOrder() needs OrderLockInterceptor on its route');
  }
  return lockedOrder;
});
