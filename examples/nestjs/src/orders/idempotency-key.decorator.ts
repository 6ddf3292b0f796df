// @IdempotencyKey(): the client's name for what it wants.

import { BadRequestException, createParamDecorator, ExecutionContext } from '@nestjs/common';

export interface KeyedRequest {
  headers: Record<string, string | string[] | undefined>;
}

export function idempotencyKeyOf(request: KeyedRequest): string {
  const key = request.headers['idempotency-key'];
  if (typeof key !== 'string' || key === '') {
    throw new BadRequestException('the header Idempotency-Key is missing');
  }
  return key;
}

export const IdempotencyKey = createParamDecorator((_: unknown, context: ExecutionContext): string =>
  idempotencyKeyOf(context.switchToHttp().getRequest<KeyedRequest>()),
);
