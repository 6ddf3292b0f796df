// Which parts the service is made of.

import { Inject, Module, OnApplicationShutdown } from '@nestjs/common';
import { MongoClient } from 'mongodb';

import { Order, ORDERS } from './orders/order';
import { OrdersController } from './orders/orders.controller';
import { OrdersService } from './orders/orders.service';
import { PaymentGateway } from './payments/payment-gateway';

@Module({
  controllers: [OrdersController],
  providers: [
    OrdersService,
    PaymentGateway,
    {
      provide: MongoClient,
      useFactory: () => MongoClient.connect(process.env.MONGODB_URI ?? 'mongodb://127.0.0.1:27017/shop'),
    },
    {
      provide: ORDERS,
      inject: [MongoClient],
      useFactory: (client: MongoClient) => client.db().collection<Order>('orders'),
    },
  ],
})
export class AppModule implements OnApplicationShutdown {
  constructor(@Inject(MongoClient) private readonly client: MongoClient) {}

  async onApplicationShutdown(): Promise<void> {
    await this.client.close();
  }
}
