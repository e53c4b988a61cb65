/* SPDX-License-Identifier: GPL-2.0 */
/*
 * All that net/ takes from C and that the kernel crate does not have.
 *
 * bindgen reads this header (see ../Kbuild): what the includes export it finds by name, what they
 * only define inline gets a function here, named after the original.
 */
#ifndef MBNIC_NET_HELPERS_H
#define MBNIC_NET_HELPERS_H

#include <linux/etherdevice.h>
#include <linux/netdevice.h>
#include <linux/rtnetlink.h>
#include <linux/sched.h>
#include <linux/sched/stat.h>
#include <linux/skbuff.h>
#include <linux/workqueue.h>
#include <net/netdev_rx_queue.h>

struct net_device *mbnic_alloc_etherdev(int sizeof_priv, unsigned int txqs, unsigned int rxqs);
void *mbnic_netdev_priv(const struct net_device *dev);
void mbnic_set_netdev_dev(struct net_device *dev, struct device *parent);
void mbnic_set_netdev_ops(struct net_device *dev, const struct net_device_ops *ops);
void mbnic_set_ethtool_ops(struct net_device *dev, const struct ethtool_ops *ops);
void mbnic_set_max_mtu(struct net_device *dev, unsigned int mtu);
void mbnic_set_rx_queue_group(struct net_device *dev, const struct attribute_group *group);
struct net_device *mbnic_rx_queue_dev(const struct netdev_rx_queue *queue);
unsigned int mbnic_rx_queue_index(struct netdev_rx_queue *queue);
void mbnic_eth_hw_addr_set(struct net_device *dev, const u8 *addr);

void mbnic_netif_start_queue(struct net_device *dev);
void mbnic_netif_stop_queue(struct net_device *dev);
void mbnic_netif_wake_queue(struct net_device *dev);
bool mbnic_netif_queue_stopped(const struct net_device *dev);
void mbnic_netif_tx_disable(struct net_device *dev);

void mbnic_netif_napi_add(struct net_device *dev, struct napi_struct *napi,
			  int (*poll)(struct napi_struct *napi, int budget));
void mbnic_netif_napi_del(struct napi_struct *napi);
void mbnic_local_bh_disable(void);
void mbnic_local_bh_enable(void);
bool mbnic_napi_schedule(struct napi_struct *napi);
void mbnic_napi_gro_receive(struct napi_struct *napi, struct sk_buff *skb);
struct net_device *mbnic_napi_dev(const struct napi_struct *napi);

/* Of our own: what it says, to go by who was interrupted or, in ksoftirqd, who else could run. */
bool mbnic_softirq_delays_a_task(void);

unsigned int mbnic_skb_len(const struct sk_buff *skb);
int mbnic_skb_tailroom(const struct sk_buff *skb);
void mbnic_skb_put_data(struct sk_buff *skb, const void *data, unsigned int len);
bool mbnic_skb_has_room_for_frag(const struct sk_buff *skb);
void mbnic_skb_add_rx_frag(struct sk_buff *skb, struct page *page, int off, int size);
void mbnic_skb_set_protocol(struct sk_buff *skb, struct net_device *dev);
void mbnic_dev_kfree_skb_any(struct sk_buff *skb);
void mbnic_dev_consume_skb_any(struct sk_buff *skb);

void mbnic_init_work(struct work_struct *work, work_func_t func);
void mbnic_schedule_work(struct work_struct *work);

#endif /* MBNIC_NET_HELPERS_H */
