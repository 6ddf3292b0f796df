// The routes of orders.

import { Body, Controller, Get, NotFoundException, Param, Post, Res, UseInterceptors } from '@nestjs/common';

import { IdempotencyKey } from './idempotency-key.decorator';
import { LockedOrder } from './locked-order.decorator';
import { Order, OrderResponse } from './order';
import { OrderLockInterceptor } from './order-lock.interceptor';
import { NewOrder, OrdersService } from './orders.service';

interface Answer {
  status(code: number): unknown;
}

@Controller('orders')
export class OrdersController {
  constructor(private readonly orders: OrdersService) {}

  @Post()
  async create(@Body() body: NewOrder, @Res({ passthrough: true }) answer: Answer): Promise<OrderResponse> {
    return respond(answer, await this.orders.CreateOrder(body));
  }

  @Get(':id')
  async read(@Param('id') id: string): Promise<OrderResponse> {
    const order = await this.orders.FindOrder(id);
    if (!order) {
      throw new NotFoundException(`there is no order ${id}`);
    }
    return { status: 200, result: order };
  }

  @Post(':id/confirm')
  @UseInterceptors(OrderLockInterceptor)
  async confirm(
    @LockedOrder() order: Order,
    @IdempotencyKey() key: string,
    @Res({ passthrough: true }) answer: Answer,
  ): Promise<OrderResponse> {
    return respond(answer, await this.orders.ConfirmLockedOrder(order, key));
  }

  @Post(':id/cancel')
  @UseInterceptors(OrderLockInterceptor)
  async cancel(
    @LockedOrder() order: Order,
    @IdempotencyKey() key: string,
    @Body() body: { reason?: string },
    @Res({ passthrough: true }) answer: Answer,
  ): Promise<OrderResponse> {
    return respond(answer, await this.orders.CancelLockedOrder(order, key, body.reason));
  }

  @Post(':id/refund')
  @UseInterceptors(OrderLockInterceptor)
  async refund(
    @LockedOrder() order: Order,
    @IdempotencyKey() key: string,
    @Body() body: { amount: number },
    @Res({ passthrough: true }) answer: Answer,
  ): Promise<OrderResponse> {
    return respond(answer, await this.orders.RefundLockedOrder(order, key, body.amount));
  }
}

function respond(answer: Answer, response: OrderResponse): OrderResponse {
  answer.status(response.status);
  return response;
}
